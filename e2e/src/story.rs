//! The story that `make demo` tells and that a test plays: people give each other credit, on real
//! homeservers, with the real programs. Each step checks what it says.

mod apps;
mod coffee;
mod court;
mod hours;
mod loss;
mod moving;
mod neighbours;
mod promises;
mod strangers;
mod together;
mod village;
mod words;

use anyhow::{Context, Result};

use crate::World;
use crate::people::{self, Person, Site};
use crate::promises::Cosigned;

pub use coffee::Guests;
pub use strangers::Strangers;

/// The unit in which milkman and baker count.
pub const BREAD: &str = "BREAD/2";

/// The unit in which the six count.
pub const HOURS: &str = "HOUR/2";

/// Everything on the stage. What it holds must not outlive it.
pub struct Stage {
    /// Tells the audience what happens.
    tell: fn(&str),
    /// The first homeserver: the milkman's, until it is stopped.
    pub h1: Site,
    /// The second: the baker's.
    pub h2: Site,
    /// The third, once the milkman moved there.
    pub h3: Option<Site>,
    /// The fourth, whose plugin keeps books for its users.
    pub h4: Option<Site>,
    /// Delivers milk.
    pub milkman: Person,
    /// Bakes bread.
    pub baker: Person,
    /// A to F, once they have come.
    pub six: Vec<Person>,
    /// A log and its cosigner, once promises hang on it.
    pub log: Option<Cosigned>,
    /// People who pay over friends, once they have come.
    pub strangers: Option<Strangers>,
    /// Who has a coffee, once they have come.
    pub guests: Option<Guests>,
    /// Lets an app spend for her, once she has come.
    kim: Option<Person>,
    /// Last, so that it ends last.
    world: World,
}

/// Plays the whole story; `tell` gets each line of it.
///
/// # Errors
/// If anything differs from what the story says; the error names the step.
pub async fn play(tell: fn(&str)) -> Result<Stage> {
    tell("Setting the stage: a DHT, two homeservers (H1, H2), a plugin beside each.");
    let mut stage = Stage::set(tell).await.context("setting the stage")?;
    macro_rules! step {
        ($number:literal, $title:literal, $part:ident) => {
            tell("");
            tell(concat!("Step ", $number, ". ", $title));
            stage
                .$part()
                .await
                .context(concat!("step ", $number, ": ", $title))?;
        };
    }
    step!(
        1,
        "Milkman and baker sign up and find each other by key alone",
        meet
    );
    step!(2, "Each sets a credit line for the other", set_lines);
    step!(
        3,
        "The milkman takes bread while the baker is offline",
        take_bread
    );
    step!(
        4,
        "The milkman asks for more than the baker trusts him with",
        ask_too_much
    );
    step!(5, "The baker takes milk: the debt turns round", take_milk);
    step!(
        6,
        "Six people trade hours, and the sum is zero",
        trade_hours
    );
    step!(7, "The baker's laptop is lost", lose_laptop);
    step!(
        8,
        "The baker's evidence convinces a third person",
        go_to_court
    );
    step!(
        9,
        "H1 is stopped: the milkman moves, and a running baker finds him",
        move_house
    );
    step!(
        10,
        "The baker's secret is published in time: what the milkman promised is booked",
        publish_in_time
    );
    step!(
        11,
        "Another secret stays one: the log proves that the promise has expired",
        let_expire
    );
    step!(
        12,
        "A log tells the milkman one thing and the baker another: it is caught and refused",
        catch_a_liar
    );
    step!(
        13,
        "Anna pays Dora, whom she does not know, over two friends in one command",
        find_a_way
    );
    step!(
        14,
        "A friend on the way says no: the payment goes another way",
        pay_around_a_refusal
    );
    step!(15, "Dora sleeps, and is paid all the same", pay_who_sleeps);
    step!(
        16,
        "Too much for one way: the payment is made in two parts",
        pay_in_parts
    );
    step!(
        17,
        "Gina's phone is off: her agent passes on within her limits",
        leave_it_to_an_agent
    );
    step!(
        18,
        "A circle of debts is cleared, and everybody owes less",
        clear_a_circle
    );
    step!(
        19,
        "Whom Nora vouches for may owe Ben a little, and buys a coffee",
        take_noras_word
    );
    step!(
        20,
        "Fritz pays with hours what is asked for in bread",
        pay_with_hours
    );
    step!(
        21,
        "Hanna has a coffee: Ivan, who owes her, pays the shop by Lightning",
        have_a_coffee
    );
    step!(22, "Hanna hands on what Ivan owes her", hand_a_claim_on);
    step!(
        23,
        "A dinner for ten is paid by whoever likes, in credit and in cash",
        share_a_bill
    );
    step!(
        24,
        "A web shop spends what Kim allows, until she takes its key back",
        let_an_app_spend
    );
    step!(25, "Kim dismisses her agent", dismiss_an_agent);
    step!(
        26,
        "What a friend says of a router counts, and everybody can check who said it",
        say_what_is_good
    );
    stage.rest_strangers().await?;
    tell("");
    tell("The story is told: every step went as it says.");
    Ok(stage)
}

impl Stage {
    async fn set(tell: fn(&str)) -> Result<Self> {
        let world = World::start().await?;
        let (h1, h2) = futures_util::try_join!(Site::open(&world, "h1"), Site::open(&world, "h2"))?;
        for (name, site) in [("H1", &h1), ("H2", &h2)] {
            tell(&format!("  {name} is {}", site.homeserver.z32()));
            tell(&format!("  its plugin is {}", site.plugin.key()));
        }
        Ok(Self {
            tell,
            milkman: Person::new(&world, "milkman")?,
            baker: Person::new(&world, "baker")?,
            six: Vec::new(),
            h1,
            h2,
            h3: None,
            h4: None,
            log: None,
            strangers: None,
            guests: None,
            kim: None,
            world,
        })
    }

    fn log_of_all(&self) -> Result<&Cosigned> {
        self.log.as_ref().context("there is no log")
    }

    fn h4(&self) -> Result<&Site> {
        self.h4.as_ref().context("there is no H4")
    }

    fn kim(&self) -> Result<&Person> {
        self.kim.as_ref().context("Kim has not come")
    }

    fn say(&self, line: impl AsRef<str>) {
        (self.tell)(&format!("  {}", line.as_ref()));
    }

    /// Tells both balances, which must be `expected` (minor units that the milkman is owed) and its
    /// opposite.
    async fn agree(&self, expected: i64) -> Result<()> {
        let text = people::agree(&self.milkman, &self.baker, BREAD, expected).await?;
        self.say(text);
        Ok(())
    }

    /// Lines with the addresses that are worth opening while the stage stands.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let sites = [
            ("H1", Some(&self.h1)),
            ("H2", Some(&self.h2)),
            ("H3", self.h3.as_ref()),
            ("H4", self.h4.as_ref()),
        ];
        let mut lines = Vec::new();
        for (name, site) in sites {
            let Some(site) = site.filter(|site| site.homeserver.is_running()) else {
                continue;
            };
            lines.push(format!(
                "{name}, homeserver       {}",
                site.homeserver.http_url()
            ));
            lines.push(format!(
                "{name}, plugin's pages   {}/docs",
                site.plugin.http_url()
            ));
        }
        for person in [&self.milkman, &self.baker] {
            let command = person.wallet().command_line(&["balance"]);
            lines.push(format!("{}'s wallet: {command}", person.name()));
        }
        lines
    }
}
