//! What pays outside, what goes without asking, and what is worth how much.

use std::path::{Component, Path};

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Asked, Body, Named};
use super::super::problem::{Answer, Problem};
use super::super::state::Served;
use super::super::words::Words;
use super::Nothing;

/// The folder in the wallet's folder where the files of rails lie that are added over HTTP.
const RAILS_FOLDER: &str = "rails";

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(order))
        .routes(routes!(remove))
        .routes(routes!(test))
        .routes(routes!(guests, welcome, unwelcome))
        .routes(routes!(pay_rules, set_pay_rule, drop_pay_rule))
        .routes(routes!(confirm_rules, set_confirm_rule, drop_confirm_rule))
        .routes(routes!(rates))
        .routes(routes!(exchange, offer, remove_offer))
}

/// Something that pays. Files are named as they lie in the folder `rails` of the wallet's folder; nothing else is read.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum NewRail {
    /// An lnd node.
    Lnd {
        name: Option<String>,
        /// Its REST interface.
        url: String,
        /// Its certificate.
        cert: String,
        /// A macaroon with the rights info:read, offchain:read and offchain:write.
        macaroon: String,
        /// `bitcoin`, `testnet`, `signet`, `regtest`, `simnet`.
        network: Option<String>,
        /// The most that a payment may cost on top, in millionths.
        max_fee_ppm: Option<u32>,
        min: Option<String>,
        max: Option<String>,
    },
    /// A Core Lightning node.
    Cln {
        name: Option<String>,
        /// Its REST interface.
        url: String,
        /// Its certificate.
        cert: String,
        /// A file with a rune for pay, listpays, getinfo and listpeerchannels.
        rune: String,
        /// `bitcoin`, `testnet`, `signet`, `regtest`, `simnet`.
        network: Option<String>,
        /// The most that a payment may cost on top, in millionths.
        max_fee_ppm: Option<u32>,
        min: Option<String>,
        max: Option<String>,
    },
    /// A wallet of a Bitcoin Core node on this machine.
    Bitcoind {
        name: Option<String>,
        /// Its JSON-RPC interface.
        url: Option<String>,
        /// The wallet that pays.
        wallet: String,
        /// The node's cookie; or `user` and `password`.
        cookie: Option<String>,
        user: Option<String>,
        /// A file with the password.
        password: Option<String>,
        /// `main`, `test`, `signet`, `regtest`.
        chain: Option<String>,
        /// Methods whose places are plain addresses.
        #[serde(default)]
        methods: Vec<String>,
        target_blocks: Option<u16>,
        confirmations: Option<u32>,
        max_fee_sat: Option<u64>,
        min: Option<String>,
        max: Option<String>,
    },
    /// The user, by hand.
    Manual {
        name: Option<String>,
        /// Such as `usd-cash-hand` or `eur-sepa-iban`.
        methods: Vec<String>,
        min: Option<String>,
        max: Option<String>,
    },
}

impl NewRail {
    fn words(self, home: &Path) -> Result<Words, Problem> {
        let file = |name: String| rail_file(home, &name);
        Ok(match self {
            Self::Lnd {
                name,
                url,
                cert,
                macaroon,
                network,
                max_fee_ppm,
                min,
                max,
            } => Words::of("rail add lnd")
                .with("name", name)
                .with("url", Some(url))
                .with("cert", Some(file(cert)?))
                .with("macaroon", Some(file(macaroon)?))
                .with("network", network)
                .with("max-fee-ppm", max_fee_ppm)
                .with("min", min)
                .with("max", max),
            Self::Cln {
                name,
                url,
                cert,
                rune,
                network,
                max_fee_ppm,
                min,
                max,
            } => Words::of("rail add cln")
                .with("name", name)
                .with("url", Some(url))
                .with("cert", Some(file(cert)?))
                .with("rune", Some(file(rune)?))
                .with("network", network)
                .with("max-fee-ppm", max_fee_ppm)
                .with("min", min)
                .with("max", max),
            Self::Bitcoind {
                name,
                url,
                wallet,
                cookie,
                user,
                password,
                chain,
                methods,
                target_blocks,
                confirmations,
                max_fee_sat,
                min,
                max,
            } => Words::of("rail add bitcoind")
                .with("name", name)
                .with("url", url)
                .with("wallet", Some(wallet))
                .with("cookie", cookie.map(file).transpose()?)
                .with("user", user)
                .with("password", password.map(file).transpose()?)
                .with("chain", chain)
                .each("method", &methods)
                .with("target-blocks", target_blocks)
                .with("confirmations", confirmations)
                .with("max-fee-sat", max_fee_sat)
                .with("min", min)
                .with("max", max),
            Self::Manual {
                name,
                methods,
                min,
                max,
            } => Words::of("rail add manual")
                .with("name", name)
                .each("method", &methods)
                .with("min", min)
                .with("max", max),
        })
    }
}

/// Where a file of a rail lies. Whoever has the token has the wallet, not the other files of the machine: a rail sends what its file holds to
/// wherever it was told that the node is. What the user links to from that folder is meant to be used.
fn rail_file(home: &Path, name: &str) -> Result<String, Problem> {
    let path = Path::new(name);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if name.is_empty() || !path.components().all(plain) {
        let detail = format!("{name:?} does not name a file in the folder of rails");
        return Err(Problem::bad("file_refused", detail).with_hint(
            "put it, or a link to it, into the folder `rails` in the wallet's folder, and give its name",
        ));
    }
    let path = home.join(RAILS_FOLDER).join(path);
    let path = path.to_str().map(str::to_owned);
    path.ok_or_else(|| Problem::bad("file_refused", "the wallet's folder has no plain name"))
}

/// Lists what pays for the user, in the order in which it is tried.
#[utoipa::path(get, path = "/v0/rails", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity rail list --json`")))]
async fn list(State(served): State<Served>) -> Answer {
    served.ask(Words::of("rail list")).await
}

/// Lets something pay for the user.
#[utoipa::path(post, path = "/v0/rails", tag = "rails", request_body = NewRail,
    responses((status = 200, body = Value, description = "As `atomicity rail add --json`")))]
async fn add(State(served): State<Served>, Body(body): Body<NewRail>) -> Answer {
    let words = body.words(served.wallet().home())?;
    served.ask(words).await
}

/// An order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The names of those that are tried first; the others follow as they were.
    names: Vec<String>,
}

/// Says which rails are tried first.
#[utoipa::path(put, path = "/v0/rails/order", tag = "rails", request_body = Order,
    responses((status = 200, body = Value, description = "As `atomicity rail order --json`")))]
async fn order(State(served): State<Served>, Body(body): Body<Order>) -> Answer {
    let mut words = Words::of("rail order");
    for name in body.names {
        words = words.say(name);
    }
    served.ask(words).await
}

/// Forgets a rail.
#[utoipa::path(delete, path = "/v0/rails/{name}", tag = "rails",
    params(("name" = String, Path, description = "What the user calls it")),
    responses((status = 200, body = Value, description = "As `atomicity rail remove --json`")))]
async fn remove(State(served): State<Served>, Named(name): Named) -> Answer {
    served.ask(Words::of("rail remove").say(name)).await
}

/// Who may pay by rails.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Guests {
    /// The names of the rails that are paid, the best first.
    rails: Vec<String>,
    /// Only in this way: `lightning`, `onchain`. All that the rails can, if absent.
    only: Option<String>,
}

/// How guests without a wallet may pay what is asked of everybody.
#[utoipa::path(get, path = "/v0/guests", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity request guests --json`")))]
async fn guests(State(served): State<Served>) -> Answer {
    served.ask(Words::of("request guests")).await
}

/// Lets guests pay by rails. Each is tried: an invoice and an address are made that nobody sees.
#[utoipa::path(put, path = "/v0/guests", tag = "rails", request_body = Guests,
    responses((status = 200, body = Value, description = "As `atomicity request guests --json`")))]
async fn welcome(State(served): State<Served>, Body(body): Body<Guests>) -> Answer {
    if body.rails.is_empty() {
        let why = "name a rail, or DELETE this";
        return Err(Problem::bad("body_malformed", why));
    }
    let words = Words::of("request guests").with("only", body.only);
    served.ask(words.each("rail", &body.rails)).await
}

/// Takes no guests any more. What is kept for some stays.
#[utoipa::path(delete, path = "/v0/guests", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity request guests --off --json`")))]
async fn unwelcome(State(served): State<Served>) -> Answer {
    served
        .ask(Words::of("request guests").flag("off", true))
        .await
}

/// Asks a rail how it does.
#[utoipa::path(post, path = "/v0/rails/{name}/test", tag = "rails", request_body = Nothing,
    params(("name" = String, Path, description = "What the user calls it")),
    responses((status = 200, body = Value, description = "As `atomicity rail test --json`")))]
async fn test(
    State(served): State<Served>,
    Named(name): Named,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    served.ask(Words::of("rail test").say(name)).await
}

/// What may be paid without asking.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PayRule {
    /// The most that one request may ask for, such as `50 USD/2`.
    up_to: String,
    /// Only for this friend; everybody without limits of their own if left out.
    to: Option<String>,
    /// What one whole of the unit is worth, such as `1600sat`, or `source`.
    rate: Option<String>,
    /// How far a request may be off that rate, in hundredths of a percent.
    spread: Option<u32>,
    /// The most that may go in 24 hours.
    per_day: Option<String>,
}

/// Which rule to drop.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Drop {
    /// Of which unit.
    unit: String,
    /// Of which friend; of everybody else if left out.
    friend: Option<String>,
}

/// Shows what is paid outside without asking.
#[utoipa::path(get, path = "/v0/pay-rules", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity settle auto --json`")))]
async fn pay_rules(State(served): State<Served>) -> Answer {
    served.ask(Words::of("settle auto")).await
}

/// Pays outside without being asked, within limits.
#[utoipa::path(put, path = "/v0/pay-rules", tag = "rails", request_body = PayRule,
    responses((status = 200, body = Value, description = "As `atomicity settle auto --json`")))]
async fn set_pay_rule(State(served): State<Served>, Body(body): Body<PayRule>) -> Answer {
    let words = Words::of("settle auto")
        .with("up-to", Some(body.up_to))
        .with("to", body.to)
        .with("rate", body.rate)
        .with("spread", body.spread)
        .with("per-day", body.per_day);
    served.ask(words).await
}

/// Asks again before anything in this unit is paid.
#[utoipa::path(delete, path = "/v0/pay-rules", tag = "rails", params(Drop),
    responses((status = 200, body = Value, description = "As `atomicity settle auto --off --json`")))]
async fn drop_pay_rule(State(served): State<Served>, Asked(query): Asked<Drop>) -> Answer {
    let words = Words::of("settle auto").with("off", Some(query.unit));
    served.ask(words.with("to", query.friend)).await
}

/// Whose word is taken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmRule {
    /// The most that one request may be about, such as `20 USD/2`.
    up_to: String,
    /// Only of this friend; of everybody without limits of their own if left out.
    of: Option<String>,
}

/// Shows whose word that they have paid is taken.
#[utoipa::path(get, path = "/v0/confirm-rules", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity settle auto-confirm --json`")))]
async fn confirm_rules(State(served): State<Served>) -> Answer {
    served.ask(Words::of("settle auto-confirm")).await
}

/// Takes the word of friends who say that they have paid, within limits.
#[utoipa::path(put, path = "/v0/confirm-rules", tag = "rails", request_body = ConfirmRule,
    responses((status = 200, body = Value, description = "As `atomicity settle auto-confirm --json`")))]
async fn set_confirm_rule(State(served): State<Served>, Body(body): Body<ConfirmRule>) -> Answer {
    let words = Words::of("settle auto-confirm").with("up-to", Some(body.up_to));
    served.ask(words.with("of", body.of)).await
}

/// Asks again before anything in this unit counts as paid.
#[utoipa::path(delete, path = "/v0/confirm-rules", tag = "rails", params(Drop),
    responses((status = 200, body = Value, description = "As `atomicity settle auto-confirm --off --json`")))]
async fn drop_confirm_rule(State(served): State<Served>, Asked(query): Asked<Drop>) -> Answer {
    let words = Words::of("settle auto-confirm").with("off", Some(query.unit));
    served.ask(words.with("of", query.friend)).await
}

/// Shows the user's sources of rates, and what they say now.
#[utoipa::path(get, path = "/v0/rates", tag = "rails",
    responses((status = 200, body = Value, description = "As `atomicity settle rates --json`")))]
async fn rates(State(served): State<Served>) -> Answer {
    served.ask(Words::of("settle rates")).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// Whose: a name or key; the user's own if left out.
    user: Option<String>,
}

/// Shows at which rates units are exchanged.
#[utoipa::path(get, path = "/v0/exchange", tag = "rails", params(Whose),
    responses((status = 200, body = Value, description = "As `atomicity exchange list --json`")))]
async fn exchange(State(served): State<Served>, Asked(query): Asked<Whose>) -> Answer {
    let words = Words::of("exchange list").say_if(query.user);
    served.ask(words).await
}

/// A rate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Offer {
    /// What is given, such as `1 EUR/2`.
    give: String,
    /// What is taken for it, such as `1.08 USD/2`.
    take: String,
    /// The most that is given in one payment.
    max: String,
}

/// Exchanges units for payments that are passed on, and publishes the rate.
#[utoipa::path(post, path = "/v0/exchange", tag = "rails", request_body = Offer,
    responses((status = 200, body = Value, description = "As `atomicity exchange offer --json`")))]
async fn offer(State(served): State<Served>, Body(body): Body<Offer>) -> Answer {
    let words = Words::of("exchange offer").with("max", Some(body.max));
    served
        .ask(words.say(body.give).say("for").say(body.take))
        .await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Pair {
    /// The unit that was given.
    give: String,
    /// The unit that was taken for it.
    take: String,
}

/// Does not give one unit for another any more.
#[utoipa::path(delete, path = "/v0/exchange", tag = "rails", params(Pair),
    responses((status = 200, body = Value, description = "As `atomicity exchange remove --json`")))]
async fn remove_offer(State(served): State<Served>, Asked(query): Asked<Pair>) -> Answer {
    let words = Words::of("exchange remove").say(query.give);
    served.ask(words.say(query.take)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_of_rails_lie_in_their_folder() {
        let home = Path::new("/home/anna/wallet");
        let own = rail_file(home, "lnd/tls.cert").unwrap();
        assert_eq!(own, "/home/anna/wallet/rails/lnd/tls.cert");
        for other in [
            "",
            "/etc/passwd",
            "../wallet.db",
            "lnd/../../wallet.db",
            ".",
        ] {
            assert_eq!(
                rail_file(home, other).unwrap_err().code,
                "file_refused",
                "{other}"
            );
        }
    }
}
