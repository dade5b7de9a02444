//! What dishonest users do.

use crate::error::SimError;
use crate::world::World;

impl World {
    /// A liar lies, if this user is one.
    pub(crate) fn lie(&mut self, n: usize) -> Result<(), SimError> {
        if self.nodes[n].is_honest() {
            return Ok(());
        }
        Ok(())
    }
}
