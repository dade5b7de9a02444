//! The page of a request, for who has no wallet: at the user's own plugin, if it serves pages.

use std::time::Duration;

use url::Url;

use super::super::Wallet;
use super::{RequestRole, RequestView};
use crate::error::ClientError;

/// How long the plugins are waited for: the page is a convenience, and the link works without it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Wallet {
    /// The address of the page of an own request that is for everybody; `None` if no plugin of the user serves pages, or none can be asked
    /// just now.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn request_page(&self, request: &RequestView) -> Result<Option<Url>, ClientError> {
        if request.role != RequestRole::Payee || request.payer.is_some() {
            return Ok(None);
        }
        let plugins = match self.own_plugins().await {
            Ok(plugins) => plugins,
            Err(error) if super::is_grave(&error) => return Err(error),
            // Nobody has signed up yet.
            Err(_) => return Ok(None),
        };
        let path = format!("u/{}/requests/{}", request.payee.to_z32(), request.id);
        let asked = async {
            for plugin in plugins {
                let page = plugin.info().await.ok().and_then(|info| info.page(&path));
                if page.is_some() {
                    return page;
                }
            }
            None
        };
        Ok(tokio::time::timeout(PATIENCE, asked).await.ok().flatten())
    }
}
