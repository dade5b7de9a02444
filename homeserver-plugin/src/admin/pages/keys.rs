//! The keys of this plugin: what it means to change each, and how that is done.

use axum::extract::State;
use maud::{Markup, html};

use super::LoggedIn;
use crate::pages::Page;
use crate::state::AppState;

/// How a command begins that reads the service's files.
const PROGRAM: &str = "sudo -u atomicity atomicity-homeserver";
/// Where the program looks for them by itself.
const USUAL: &str = "/var/lib/atomicity-homeserver";

/// A key, and what can be done about it.
struct Key {
    name: &'static str,
    /// The public half, where there is one.
    public: Option<String>,
    /// What it means to change it.
    meaning: &'static str,
    /// What does it, line by line; nothing where it can't be changed.
    commands: Vec<String>,
}

/// `GET /keys`.
pub async fn page(_: LoggedIn, State(state): State<AppState>) -> Page {
    let content = html! {
        h1 { "Keys" }
        p { "What is changed here is changed on the machine, by a command: whoever has this page open can't take a key away." }
        @for key in keys(&state) { (card(&key)) }
    };
    super::page("Keys", "/keys", content)
}

fn card(key: &Key) -> Markup {
    html! {
        section.card {
            h2 { (key.name) }
            @if let Some(public) = &key.public { p { code.key { (public) } } }
            p { (key.meaning) }
            @if !key.commands.is_empty() {
                pre tabindex="0" { code { @for line in &key.commands { (line) "\n" } } }
            }
        }
    }
}

/// The keys that this plugin has.
fn keys(state: &AppState) -> Vec<Key> {
    let program = program(state);
    let mut keys = vec![password(state, &program), own(state)];
    if let Some(log) = &state.witness_log {
        keys.push(Key {
            name: "The log’s key",
            public: Some(log.vkey()),
            meaning: "It can’t be changed: the log is its key. A new log is made beside it, and promises that hang on this one need it to the end.",
            commands: Vec::new(),
        });
    }
    if state.config.cosigner.enabled {
        keys.push(Key {
            name: "The cosigner’s key",
            public: None,
            meaning: "A new one counts nowhere until the operators of the logs name it in their policies: give it to them. The old one signs nothing any more. The plugin is stopped meanwhile.",
            commands: vec![
                "sudo systemctl stop atomicity-homeserver".to_owned(),
                format!("{program} cosigner rotate"),
                "sudo systemctl start atomicity-homeserver".to_owned(),
            ],
        });
    }
    if state.agent.is_some() {
        keys.push(Key {
            name: "The keys of agents",
            public: None,
            meaning: "Each user changes the one of their own agent, in their wallet: the old one is taken back, and a new one gets their word.",
            commands: vec!["atomicity agent off".to_owned(), "atomicity agent on".to_owned()],
        });
    }
    keys
}

fn password(state: &AppState, program: &str) -> Key {
    let is_setting = state.config.admin.password.is_some();
    Key {
        name: "The operator’s password",
        public: None,
        meaning: if is_setting {
            "It stands in the configuration, as admin.password: change it there, and start the plugin again. Whoever is logged in here is logged out."
        } else {
            "A new one counts at once, and the old one no longer. Whoever is logged in here is logged out."
        },
        commands: if is_setting {
            vec!["sudo systemctl restart atomicity-homeserver".to_owned()]
        } else {
            vec![format!("{program} admin password --renew")]
        },
    }
}

fn own(state: &AppState) -> Key {
    Key {
        name: "The plugin’s own key",
        public: Some(state.keypair.public_key().z32()),
        meaning: "It can’t be changed: users’ profiles name it, and the keys of agents are sealed under it. A new one is a new plugin, to which users move.",
        commands: Vec::new(),
    }
}

/// The program, with the place of its files where it would not look by itself.
fn program(state: &AppState) -> String {
    match &state.data_dir {
        Some(dir) if dir.as_path() != std::path::Path::new(USUAL) => {
            format!("{PROGRAM} --data-dir {}", dir.display())
        }
        _ => PROGRAM.to_owned(),
    }
}
