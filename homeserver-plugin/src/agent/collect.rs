//! Being paid: promises that name an invoice are collected, and its secret is published when all are there.

use std::collections::BTreeSet;

use atomicity_ledger::hop::{self, Collection, CollectionStage, Errand, Neighbour, Step};
use atomicity_ledger::onion::{Failure, FailureCode};
use atomicity_ledger::pair::{Event, Promise, Standing};
use atomicity_ledger::record::LogProof;
use atomicity_ledger::{LedgerError, PaymentHash, Preimage};

use super::intake::Intake;
use super::onward::{Kept, settle};
use super::store::InvoiceRow;
use crate::error::PluginError;

/// How much time must be left for publishing, in milliseconds.
pub const MIN_LEFT_MS: u64 = 8_000;

/// Invoices that may be concerned: those on whose hash something hung that is decided now. It may have been booked without a proof, and be
/// gone already.
fn concerned(intake: &Intake<'_>) -> BTreeSet<PaymentHash> {
    let Some(loaded) = intake.change.pair(&intake.peer) else {
        return BTreeSet::new();
    };
    let before = loaded.before();
    let hung = hop::errands(before).into_iter().filter_map(|iou| {
        let now = loaded.pair.promise_held(iou).map(Promise::standing);
        let decided = now != Some(Standing::Undecided);
        let promise = before.promise_held(iou).filter(|_| decided)?;
        Some(promise.iou().record().terms.hash)
    });
    // A proof of publication beats what was decided before.
    let due = intake.events.iter().filter_map(|event| match event {
        Event::Due { preimage, .. } => Some(preimage.hash()),
        _ => None,
    });
    hung.chain(due).collect()
}

/// Looks at invoices again: those on which something was decided, and those whose time is short.
///
/// # Errors
/// [`PluginError::Database`].
pub(super) async fn follow(
    intake: &mut Intake<'_>,
    asked: &BTreeSet<PaymentHash>,
) -> Result<(), PluginError> {
    let mut hashes = concerned(intake);
    hashes.extend(asked);
    for hash in hashes {
        if let Some(row) = intake.change.take_invoice(&hash).await? {
            follow_one(intake, row).await?;
        }
    }
    Ok(())
}

/// Takes a promise that names an invoice, or gives it up.
///
/// # Errors
/// [`PluginError::Database`].
pub(super) async fn take_part(intake: &mut Intake<'_>, errand: &Errand) -> Result<(), PluginError> {
    let hash = errand.promise().terms.hash;
    let Some(mut row) = intake.change.take_invoice(&hash).await? else {
        // The user's wallet may know it: then it is this edge that the payer has to avoid.
        let from = errand.promise().from;
        let to = intake.change.keeper.owner;
        let failure = Failure::of_edge(FailureCode::UnknownInvoice, from, to);
        decline(intake, errand, failure);
        return Ok(());
    };
    if row.withdrawn {
        intake.change.put_invoice(row);
        decline(intake, errand, Failure::here(FailureCode::Declined));
        return Ok(());
    }
    let before = row.collection.clone();
    let from = [errand.promise().from];
    work(
        intake,
        &mut row,
        &from,
        |collection, pairs, context| match pairs.first_mut() {
            Some(from) => collection.take(from.again(), errand, context),
            None => Ok(Step::default()),
        },
    )
    .await?;
    if row.collection == before {
        intake.change.put_invoice(row);
        return Ok(());
    }
    follow_one(intake, row).await
}

fn decline(intake: &mut Intake<'_>, errand: &Errand, failure: Failure) {
    let peer = errand.promise().from;
    let Some(mut incoming) = intake.change.take(&peer) else {
        return;
    };
    let before = Kept::of(&incoming);
    let keeper = intake.change.keeper.clone();
    let logs = intake.logs.clone();
    let from = Neighbour {
        pair: &mut incoming.pair,
        pen: &keeper.pen,
    };
    let context = intake.context(&keeper, &logs);
    let step = hop::decline(from, errand.iou(), failure, &context);
    settle(intake, vec![incoming], vec![before], step);
}

/// Whether all is there, or too little time is left, or it was published; brings the invoice back.
async fn follow_one(intake: &mut Intake<'_>, mut row: InvoiceRow) -> Result<(), PluginError> {
    let (before, received) = (row.collection.clone(), row.received);
    let neighbours = row.collection.neighbours();
    let parts = neighbours.iter().copied().collect();
    intake.change.lock(&parts).await?;
    row.collection.note(&intake.events);
    if let Some((preimage, proof)) = proof_for(intake, &row) {
        work(
            intake,
            &mut row,
            &neighbours,
            |collection, pairs, context| collection.published(pairs, preimage, &proof, context),
        )
        .await?;
    } else {
        let withdrawn = row.withdrawn;
        work(
            intake,
            &mut row,
            &neighbours,
            |collection, pairs, context| {
                let mut step = collection.give_back(pairs, withdrawn, context)?;
                let (more, _) = collection.decide(pairs, context)?;
                step.send.extend(more.send);
                step.events.extend(more.events);
                Ok(step)
            },
        )
        .await?;
        end_if_booked(intake, &mut row, &neighbours).await?;
    }
    let collected = i64::try_from(row.collection.collected()).unwrap_or(i64::MAX);
    let is_over = matches!(
        row.collection.stage(),
        CollectionStage::Paid { .. } | CollectionStage::Failed
    );
    row.received = match row.collection.stage() {
        CollectionStage::Failed => 0,
        _ => collected,
    };
    if is_over && row.ended_at.is_none() {
        row.ended_at = i64::try_from(intake.change.now.millis()).ok();
    }
    let changed = row.collection.stage() != before.stage() || row.received != received;
    if changed {
        intake.change.tell_of_invoice(&row);
    }
    intake.change.put_invoice(row);
    Ok(())
}

/// Ends an invoice for which all is booked already.
async fn end_if_booked(
    intake: &mut Intake<'_>,
    row: &mut InvoiceRow,
    neighbours: &[atomicity_ledger::UserKey],
) -> Result<(), PluginError> {
    let mut is_booked = false;
    work(intake, row, neighbours, |collection, pairs, _| {
        is_booked = collection.is_booked(pairs)?;
        Ok(Step::default())
    })
    .await?;
    if is_booked {
        let preimage = intake.change.open_secret(row)?;
        row.collection.booked(preimage);
    }
    Ok(())
}

/// The proof, if a promise for this invoice is due by one.
fn proof_for(intake: &Intake<'_>, row: &InvoiceRow) -> Option<(Preimage, LogProof)> {
    if *row.collection.stage() == (CollectionStage::Failed) {
        return None;
    }
    let shown = row.collection.shown_by(&intake.events);
    shown.or_else(|| held_proof(intake, row))
}

fn held_proof(intake: &Intake<'_>, row: &InvoiceRow) -> Option<(Preimage, LogProof)> {
    row.collection.parts().iter().find_map(|part| {
        let loaded = intake.change.pair(&part.from)?;
        let publication = loaded.pair.promise_held(part.iou)?.publication()?.record();
        Some((publication.preimage, publication.proof.clone()?))
    })
}

/// Does something to an invoice and the books of those who have promised for it. If that fails, neither has changed.
async fn work(
    intake: &mut Intake<'_>,
    row: &mut InvoiceRow,
    users: &[atomicity_ledger::UserKey],
    f: impl FnOnce(
        &mut Collection,
        &mut [Neighbour<'_>],
        &hop::Context<'_>,
    ) -> Result<Step, LedgerError>,
) -> Result<(), PluginError> {
    intake.change.lock(&users.iter().copied().collect()).await?;
    let mut held: Vec<_> = users
        .iter()
        .filter_map(|user| intake.change.take(user))
        .collect();
    let before: Vec<Kept> = held.iter().map(Kept::of).collect();
    let kept = row.collection.clone();
    let keeper = intake.change.keeper.clone();
    let logs = intake.logs.clone();
    let mut pairs: Vec<Neighbour<'_>> = held
        .iter_mut()
        .map(|loaded| Neighbour {
            pair: &mut loaded.pair,
            pen: &keeper.pen,
        })
        .collect();
    let context = intake.context(&keeper, &logs);
    let step = f(&mut row.collection, &mut pairs, &context);
    drop(pairs);
    if step.is_err() {
        row.collection = kept;
    }
    settle(intake, held, before, step);
    Ok(())
}
