//! Room on the disks: of the data directory, and of the database if that is on this machine.

use std::path::{Path, PathBuf};

use super::Check;
use crate::config::DatabaseConfig;
use crate::db::pool;

const NAME: &str = "disk";
/// Less room than this is worth a warning, and less than this is not enough for a day, in bytes.
const ROOM_WARN: u64 = 2 << 30;
const ROOM_FAIL: u64 = 200 << 20;
/// Where Debian's Postgres keeps its databases.
const POSTGRES_DIR: &str = "/var/lib/postgresql";

/// What is left on a file system.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// For those who are not root, in bytes.
    bytes: u64,
    /// How many more files there can be; none are counted where it has no bound.
    files: Option<u64>,
}

pub(super) fn look(database: &DatabaseConfig, data_dir: &Path) -> Vec<Check> {
    let places = places(database, data_dir);
    places.iter().map(|place| look_at(place)).collect()
}

/// The folders whose disks matter and can be looked at from here.
pub(crate) fn places(database: &DatabaseConfig, data_dir: &Path) -> Vec<PathBuf> {
    let mut places = vec![data_dir.to_owned()];
    let postgres = PathBuf::from(POSTGRES_DIR);
    if is_local(database) && postgres.exists() {
        places.push(postgres);
    }
    places
}

/// What is left on the disk of a folder, in bytes, if it can be looked at.
pub(crate) fn free_bytes(place: &Path) -> Option<u64> {
    room(place).ok().map(|room| room.bytes)
}

fn look_at(place: &Path) -> Check {
    match room(place) {
        Ok(room) => judge(place, room),
        Err(error) => Check::warn(
            NAME,
            format!("{}: {error}", place.display()),
            "run doctor as the user that runs the service",
        ),
    }
}

fn room(place: &Path) -> std::io::Result<Room> {
    let found = rustix::fs::statvfs(place)?;
    Ok(Room {
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

fn judge(place: &Path, room: Room) -> Check {
    let detail = format!("{} MiB are free in {}", room.bytes >> 20, place.display());
    let hint =
        "make room, or move the directory to a larger disk: without room nothing more is taken in";
    if room.files.is_some_and(|files| files < 1_000) {
        let detail = format!("no more files can be made in {}", place.display());
        return Check::fail(
            NAME,
            detail,
            "remove files: the file system has no inodes left",
        );
    }
    if room.bytes < ROOM_FAIL {
        Check::fail(NAME, detail, hint)
    } else if room.bytes < ROOM_WARN {
        Check::warn(NAME, detail, hint)
    } else {
        Check::ok(NAME, detail)
    }
}

/// Whether the database is on this machine.
fn is_local(database: &DatabaseConfig) -> bool {
    pool::options(database).is_ok_and(|options| {
        options.get_socket().is_some()
            || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1")
            || options.get_host().starts_with('/')
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn little_room_is_told_and_less_is_a_failure() {
        let place = Path::new("/somewhere");
        let level = |bytes, files| judge(place, Room { bytes, files }).level;
        assert_eq!(level(ROOM_WARN, None), Level::Ok);
        assert_eq!(level(ROOM_WARN - 1, None), Level::Warn);
        assert_eq!(level(ROOM_FAIL - 1, None), Level::Fail);
        assert_eq!(level(ROOM_WARN, Some(999)), Level::Fail);
        assert_eq!(level(ROOM_WARN, Some(1_000)), Level::Ok);
    }

    #[test]
    fn the_room_of_a_directory_is_that_of_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let found = room(dir.path()).unwrap();
        let before = found.bytes;
        assert!(before > 0);
        // What the system's own program says, within what others write meanwhile.
        let said = std::process::Command::new("df")
            .args(["--output=avail", "-B1"])
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let said: u64 = said.lines().last().unwrap().trim().parse().unwrap();
        assert!(said.abs_diff(before) < 8 << 30, "{said} beside {before}");
        assert!(room(&dir.path().join("nowhere")).is_err());
    }

    #[test]
    fn a_database_is_here_if_its_host_is() {
        let at = |url: &str| {
            let mut config = DatabaseConfig::default();
            url.clone_into(&mut config.url);
            is_local(&config)
        };
        assert!(at("postgres://localhost/d"));
        assert!(at("postgres://u:p@127.0.0.1:5433/d"));
        assert!(at("postgres://u@%2Fvar%2Frun%2Fpostgresql/d"));
        assert!(!at("postgres://db.example.org/d"));
        assert!(!at("no url"));
    }
}
