//! What goes over channels whose books are with an agent is published by the agent.

use anyhow::{Context as _, Result, ensure};
use atomicity_e2e::people::{Person, string};
use atomicity_e2e::town::pass_on;
use atomicity_e2e::wait;
use atomicity_ledger::record::{Advert, advert_path};
use atomicity_ledger::{Signed, Unit};

use super::{Place, engage};
use crate::common::BREAD;

/// What `from` publishes about the channel with `to`.
async fn published(place: &Place, from: &Person, to: &Person) -> Result<Signed<Advert>> {
    let user = pubky::PublicKey::try_from_z32(from.key())?;
    let path = advert_path(&to.key().parse()?);
    let sdk = place.world.sdk()?;
    let answer = sdk.public_storage().get((&user, path.as_str())).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(Signed::decode(&answer.text().await?)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adverts_are_the_agents_while_it_keeps_the_books() {
    let place = Place::found().await;
    let [anna, ben, carl] = place.chain().await;
    let bread: Unit = BREAD.parse().unwrap();
    let device = published(&place, &ben, &anna).await.unwrap();
    let on = engage(&ben, &[], &[&anna, &carl]).await;
    let agent = string(&on, "/agent_key").unwrap();
    wait::until("the agent's adverts", || async {
        for friend in [&anna, &carl] {
            let advert = published(&place, &ben, friend).await?;
            ensure!(advert.kid().to_string() == agent, "{}", advert.kid());
            ensure!(advert.record().serial > device.record().serial);
            let unit = advert.record().units.iter().find(|one| one.unit == bread);
            let unit = unit.context("it says nothing about bread")?;
            ensure!(unit.send.is_some() && unit.receive.is_some(), "{unit:?}");
        }
        Ok(())
    })
    .await
    .unwrap();

    // What is passed on is told to the agent, and what it publishes follows.
    ben.wallet().ok(&["forward", "off"]).await.unwrap();
    wait::until("nothing to be published", || async {
        let gone = published(&place, &ben, &anna).await.is_err();
        ensure!(gone, "it is still there");
        Ok(())
    })
    .await
    .unwrap();

    // The books come back, and the wallet publishes again.
    pass_on(&ben, BREAD, "0.01").await.unwrap();
    ben.wallet().ok(&["agent", "off"]).await.unwrap();
    wait::until("the wallet's adverts", || async {
        ben.sync().await?;
        anna.sync().await?;
        let advert = published(&place, &ben, &anna).await?;
        ensure!(advert.kid() == device.kid(), "{}", advert.kid());
        Ok(())
    })
    .await
    .unwrap();
}
