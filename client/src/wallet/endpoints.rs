//! Where a user can be paid outside the ledger: Paykit endpoints that everybody can read, and what is told to one friend alone.

use atomicity_ledger::record::Endpoint as PrivateEndpoint;
use atomicity_ledger::{Decimal, UserKey};
use atomicity_paykit_adapter::{
    AdapterError, App, Endpoint, Fault, Limit, MethodId, Payload, Publisher, Reader,
    is_credit_method,
};

use super::{Wallet, books, now, receive};
use crate::error::ClientError;
use crate::net::session::HomeSession;
use crate::net::{NetError, shorten};
use crate::store::contacts;
use crate::store::pairs::agent;

/// One way to pay somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointView {
    /// How: `btc-lightning-bolt11`, `eur-sepa-iban`.
    pub method: String,
    /// Where.
    pub value: String,
    /// The least that is taken there, in the asset's major unit.
    pub min: Option<String>,
    /// The most that is taken there, in the asset's major unit.
    pub max: Option<String>,
    /// The app that keeps it; `None` if an older wallet does, or it is private.
    pub app: Option<String>,
    /// Whether it was said to one friend alone.
    pub private: bool,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        let bound = |limit: Option<&Limit>| limit.map(|limit| limit.as_str().to_owned());
        Self {
            method: endpoint.method.as_str().to_owned(),
            value: endpoint.payload.value().to_owned(),
            min: bound(endpoint.payload.min()),
            max: bound(endpoint.payload.max()),
            app: endpoint.app.map(|app| app.as_str().to_owned()),
            private: false,
        }
    }
}

impl From<&PrivateEndpoint> for EndpointView {
    fn from(endpoint: &PrivateEndpoint) -> Self {
        Self {
            method: endpoint.method.as_str().to_owned(),
            value: endpoint.value.as_str().to_owned(),
            min: endpoint.min.map(|min| min.to_string()),
            max: endpoint.max.map(|max| max.to_string()),
            app: None,
            private: true,
        }
    }
}

impl Wallet {
    /// Publishes where this user can be paid by one method, or replaces what was said of it. `min` and `max` are plain decimals of
    /// the asset's major unit.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if the method, the value or a bound can't stand in an endpoint, or belongs to a unit; else as the homeserver answers.
    pub async fn add_endpoint(
        &self,
        method: &str,
        value: &str,
        (min, max): (Option<&str>, Option<&str>),
    ) -> Result<EndpointView, ClientError> {
        let method = own_method(method)?;
        let bound = |text: Option<&str>| text.map(str::parse::<Limit>).transpose();
        let payload = Payload::new(value)
            .and_then(|payload| payload.with_limits(bound(min)?, bound(max)?))
            .map_err(said_wrongly)?;
        let publisher = self.publisher().await?;
        let done = publisher.publish(&method, &payload).await;
        done.map_err(said_wrongly)?;
        let entered = publisher.register(App::atomicity()).await;
        entered.map_err(endpoint_error)?;
        Ok(EndpointView {
            method: method.as_str().to_owned(),
            value: payload.value().to_owned(),
            min: min.map(str::to_owned),
            max: max.map(str::to_owned),
            app: Some("atomicity".to_owned()),
            private: false,
        })
    }

    /// Says no more where this user can be paid by one method. False if nothing was said.
    ///
    /// # Errors
    /// As [`Wallet::add_endpoint`].
    pub async fn remove_endpoint(&self, method: &str) -> Result<bool, ClientError> {
        let method = own_method(method)?;
        let removed = self.publisher().await?.remove(&method).await;
        removed.map_err(endpoint_error)
    }

    /// Where somebody can be paid, and what of it could not be read: what they told this user alone, in their order, then what everybody can
    /// read. What stands in both counts once, as they told this user.
    ///
    /// # Errors
    /// If their homeserver can't be asked.
    pub async fn endpoints_of(
        &self,
        user: &UserKey,
    ) -> Result<(Vec<EndpointView>, Vec<String>), ClientError> {
        let private: Vec<EndpointView> = if *user == self.user() {
            Vec::new()
        } else {
            let pair = books::load(&mut *self.store().read().await?, self.user(), *user).await?;
            let told = pair.private_endpoints(now()).iter();
            told.map(EndpointView::from).collect()
        };
        let reader = Reader::new(self.net().sdk().client().clone());
        let listing = match reader.list(user).await {
            Ok(listing) => listing,
            Err(error) if private.is_empty() => return Err(endpoint_error(error)),
            // What was told does not hang on their homeserver.
            Err(error) => return Ok((private, vec![error.to_string()])),
        };
        let fault = |fault: &Fault| format!("{}: {}", fault.path, fault.error);
        let faults = listing.faults.iter().map(fault).collect();
        let public = listing.endpoints.into_iter().map(EndpointView::from);
        let same = |one: &EndpointView| {
            let mut private = private.iter();
            private.any(|told| (&told.method, &told.value) == (&one.method, &one.value))
        };
        let public: Vec<EndpointView> = public.filter(|one| !same(one)).collect();
        Ok((private.into_iter().chain(public).collect(), faults))
    }

    /// Where this user told one friend, and nobody else, that they can be paid; in the user's order.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn private_endpoints_for(
        &self,
        user: &UserKey,
    ) -> Result<Vec<EndpointView>, ClientError> {
        let pair = books::load(&mut *self.store().read().await?, self.user(), *user).await?;
        let list = pair.own_endpoints().map(|list| list.record());
        let list = list.map_or(&[][..], |list| list.in_force(now()));
        Ok(list.iter().map(EndpointView::from).collect())
    }

    /// Tells one friend, and nobody else, where this user can be paid by one method, as the last one that the user likes; or replaces the
    /// bounds of what was told.
    ///
    /// # Errors
    /// [`ClientError::Usage`] as for [`Wallet::add_endpoint`]; [`ClientError::AgentAway`], [`ClientError::AgentRefused`] if the agent keeps
    /// the books; what hinders every signature.
    pub async fn add_private_endpoint(
        &self,
        user: &UserKey,
        method: &str,
        value: &str,
        (min, max): (Option<&str>, Option<&str>),
    ) -> Result<EndpointView, ClientError> {
        let method = own_method(method)?;
        if method.parts().is_none() {
            let why = "a method is named by asset, rail and format, such as eur-sepa-iban";
            return Err(ClientError::Usage(why.to_owned()));
        }
        let bound = |text: Option<&str>| text.map(Decimal::read).transpose();
        let said = PrivateEndpoint {
            method: method.as_str().parse()?,
            value: value.parse()?,
            min: bound(min)?,
            max: bound(max)?,
        };
        let view = EndpointView::from(&said);
        self.change_private_endpoints(user, |list| {
            let same = |one: &&mut PrivateEndpoint| {
                (&one.method, &one.value) == (&said.method, &said.value)
            };
            match list.iter_mut().find(same) {
                Some(known) => *known = said,
                None => list.push(said),
            }
            true
        })
        .await?;
        Ok(view)
    }

    /// Tells a friend no more that this user can be paid by one method; at one place only if `value` names it. False if nothing was told.
    ///
    /// # Errors
    /// As [`Wallet::add_private_endpoint`].
    pub async fn remove_private_endpoint(
        &self,
        user: &UserKey,
        method: &str,
        value: Option<&str>,
    ) -> Result<bool, ClientError> {
        self.change_private_endpoints(user, |list| {
            let before = list.len();
            let named = |one: &PrivateEndpoint| {
                one.method.as_str() == method
                    && value.is_none_or(|value| one.value.as_str() == value)
            };
            list.retain(|one| !named(one));
            list.len() != before
        })
        .await
    }

    /// Signs a changed list and sends it, or has the agent do so. Nothing happens if `edit` says that nothing changed.
    async fn change_private_endpoints(
        &self,
        user: &UserKey,
        edit: impl FnOnce(&mut Vec<PrivateEndpoint>) -> bool,
    ) -> Result<bool, ClientError> {
        if let Some(agent) = self.agent_for(user).await? {
            return self.endpoints_by_agent(&agent, user, edit).await;
        }
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user).await?;
        let contact = contact
            .filter(|contact| receive::is_friend(Some(contact)))
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        if agent::keeps(change.conn(), user).await? {
            return Err(ClientError::WithAgent(contact.name));
        }
        let mut pair = change.load(self.user(), *user).await?;
        let now = change.now;
        let known = pair.own_endpoints().map(|list| list.record());
        let mut list = known.map_or(&[][..], |list| list.in_force(now)).to_vec();
        if !edit(&mut list) {
            return Ok(false);
        }
        let signed = pair.set_endpoints(list, None, &change.keys.pen, now)?;
        change.save(&pair).await?;
        change.send(user, &[signed.jws().to_owned()]).await?;
        change.signed();
        change.commit().await?;
        self.send_now(user).await?;
        Ok(true)
    }

    async fn publisher(&self) -> Result<Publisher<HomeSession>, ClientError> {
        Publisher::new(self.session().await?).map_err(endpoint_error)
    }
}

/// A method that the user may speak of. What is said of credit follows from the units that are open.
fn own_method(name: &str) -> Result<MethodId, ClientError> {
    let method = MethodId::new(name).map_err(said_wrongly)?;
    if is_credit_method(&method) {
        return Err(ClientError::Usage(format!(
            "{name} says which units are open: `atomicity unit open` and `unit close` keep it"
        )));
    }
    Ok(method)
}

/// What the user can mend is told as such.
fn said_wrongly(error: AdapterError) -> ClientError {
    match error {
        AdapterError::MethodMalformed { .. }
        | AdapterError::MethodUnconventional(_)
        | AdapterError::PayloadMalformed(_)
        | AdapterError::TooLarge { .. }
        | AdapterError::TooMany { .. } => ClientError::Usage(error.to_string()),
        other => endpoint_error(other),
    }
}

/// What went wrong with an endpoint, in the terms of the network where the network was at fault.
pub(crate) fn endpoint_error(error: AdapterError) -> ClientError {
    let server = || "the homeserver".to_owned();
    let why = match error {
        AdapterError::NotWritten { why, .. } => match why.downcast::<NetError>() {
            Ok(error) => return ClientError::Net(*error),
            Err(why) => why.to_string(),
        },
        AdapterError::Timeout(limit) => {
            let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let server = server();
            return ClientError::Net(NetError::Timeout { server, after_ms });
        }
        AdapterError::Unreachable(why) => {
            let (server, reason) = (server(), shorten(&why.to_string(), 200));
            return ClientError::Net(NetError::Unreachable { server, reason });
        }
        other => other.to_string(),
    };
    ClientError::Malformed {
        what: "the Paykit endpoint".to_owned(),
        why,
    }
}
