//! What a proposed payment would cost, and over whom it would go, before anybody agrees.

use atomicity_ledger::{Total, Unit, UserKey};

use super::super::{Wallet, Way, bitcoins, read_invoice};
use super::{ProposalView, options};
use crate::error::ClientError;
use crate::net::plugin::{ProposalReport, Wish};

/// Most parts of a way that the page is told of.
const MOST_WAYS: usize = 4;

/// One part of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProposalWay {
    /// Through whom it goes, the payee last.
    pub over: Vec<UserKey>,
}

/// What a payment that is proposed would cost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProposalQuote {
    /// In what.
    pub unit: Unit,
    /// What all who pass it on would take, in minor units.
    pub fee: u64,
    /// The parts of its way.
    pub ways: Vec<ProposalWay>,
}

impl ProposalQuote {
    /// The longest of its ways: through how many people, the payee among them.
    #[must_use]
    pub fn hops(&self) -> usize {
        let hops = self.ways.iter().map(|way| way.over.len());
        hops.max().unwrap_or(0)
    }
}

/// What a Lightning invoice asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvoiceOutside {
    /// How much, as people write it.
    pub amount: String,
    /// The public key of the node that is paid, in hex.
    pub node: String,
    /// What for, as whoever made it says.
    pub memo: Option<String>,
}

impl Wallet {
    /// Reads the Lightning invoice that a friend is to pay for what they owe.
    ///
    /// # Errors
    /// [`SettleFault::InvoiceUnusable`](super::super::SettleFault::InvoiceUnusable).
    pub fn read_invoice_outside(&self, text: &str) -> Result<InvoiceOutside, ClientError> {
        let invoice = read_invoice(text, self.config().network.testnet)?;
        let pays = bitcoins(invoice.amount())?;
        Ok(InvoiceOutside {
            amount: format!("{} {}", pays.amount, pays.asset),
            node: invoice.payee().to_owned(),
            memo: invoice.memo().map(str::to_owned),
        })
    }

    /// Looks for the way that a proposed payment would take, asking these `routers`, or the best known ones, and tells the page. `None` if nothing goes over others, or the amount is
    /// known only once its payee grants it.
    ///
    /// # Errors
    /// Why it can't be paid.
    pub async fn quote_proposal(
        &self,
        shown: &ProposalView,
        routers: &[String],
    ) -> Result<Option<ProposalQuote>, ClientError> {
        let options = options(super::modest(&shown.wish), routers);
        let (payable, ways) = match &shown.wish {
            wish if !wish.is_readable() => return Ok(None),
            Wish::Pay { link, .. } => {
                let payable = self.payable(link, None).await?;
                let ways = self.ways_to_pay(&payable, &options).await?;
                (payable, ways)
            }
            Wish::Reassign { user, link, .. } => {
                let payable = self.payable(link, None).await?;
                let ways = self.ways_to_reassign(user, &payable, &options).await?;
                (payable, ways)
            }
            _ => return Ok(None),
        };
        let Some(way) = ways.first() else {
            return Ok(None);
        };
        let amount = payable.money.amount.minor();
        let quote = quote(way, amount, payable.money.unit);
        self.tell_quote(shown, &quote).await;
        Ok(Some(quote))
    }

    /// The same without having been asked, so that the page shows the way before anybody agrees. Nothing is signed for it. After the
    /// `last` try the page is told why none was found.
    pub(crate) async fn quote_unasked(&self, shown: &ProposalView, last: bool) {
        let Err(error) = self.quote_proposal(shown, &[]).await else {
            return;
        };
        tracing::info!(
            code = error.code(),
            "there is no way yet for a payment that is proposed: {error}"
        );
        if last {
            let report = ProposalReport {
                reason: Some(error.code()),
                ..ProposalReport::of("quoted")
            };
            self.tell_page(shown, &report).await;
        }
    }

    /// The page may do without; the user sees it here.
    async fn tell_quote(&self, shown: &ProposalView, quote: &ProposalQuote) {
        let report = ProposalReport {
            fee: Total::from_minor(quote.fee).ok(),
            hops: u16::try_from(quote.hops()).ok(),
            route: quote
                .ways
                .iter()
                .take(MOST_WAYS)
                .map(|way| way.over.clone())
                .collect(),
            ..ProposalReport::of("quoted")
        };
        self.tell_page(shown, &report).await;
    }

    async fn tell_page(&self, shown: &ProposalView, report: &ProposalReport<'_>) {
        let told = match self.plugin_of(&shown.plugin).await {
            Ok(Some(plugin)) => plugin.report_proposal(&shown.id, report).await,
            Ok(None) => return,
            Err(error) => {
                tracing::info!(code = error.code(), "a quote was not told");
                return;
            }
        };
        if let Err(error) = told {
            tracing::info!("a quote was not told: {error}");
        }
    }
}

fn quote(way: &Way, amount: u64, unit: Unit) -> ProposalQuote {
    let ways = way.parts.iter().map(|part| ProposalWay {
        over: part.hops.iter().map(|(user, _)| *user).collect(),
    });
    ProposalQuote {
        unit,
        fee: way.promised().saturating_sub(amount),
        ways: ways.collect(),
    }
}
