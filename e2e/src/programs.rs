//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The path of the program `name` of this workspace: from the environment variable `override_by`, or
/// from where cargo put the program that runs now.
///
/// # Errors
/// If it is not there: `cargo build --workspace` makes it.
pub fn find(name: &str, override_by: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(override_by) {
        let path = PathBuf::from(path);
        ensure!(
            path.is_file(),
            "{override_by} names {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    let me = std::env::current_exe().context("where does this program lie?")?;
    // Programs lie in `target/<profile>`, tests in `target/<profile>/deps`.
    let found = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no program `{name}` beside {}: run `cargo build --workspace`",
            me.display()
        )
    })
}

/// The folder of this workspace's sources, for scripts and test data.
#[must_use]
pub fn source_tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
