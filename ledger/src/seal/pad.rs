//! Padding to size classes: what is sealed shows its class, not its length.

use zeroize::Zeroizing;

use crate::error::LedgerError;

const KIB: usize = 1024;
/// Big-endian length in front of the content.
const PREFIX: usize = 4;

/// Sizes of padded channel files and private files, in bytes.
pub const CHANNEL_CLASSES: &[usize] = &[KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB];

/// Sizes of padded parcels, in bytes. The largest still fits into an envelope of 64 KiB of JSON.
pub const PARCEL_CLASSES: &[usize] = &[KIB, 4 * KIB, 16 * KIB, 47 * KIB];

/// The most content that fits into the largest class.
pub(super) const fn capacity(classes: &[usize]) -> usize {
    match classes.last() {
        Some(largest) => *largest - PREFIX,
        None => 0,
    }
}

fn class_for(content: usize, classes: &[usize]) -> Option<usize> {
    let needed = content.checked_add(PREFIX)?;
    classes.iter().copied().find(|class| needed <= *class)
}

/// Length, content, zeros, up to the smallest class that fits.
pub(super) fn pad(
    what: &'static str,
    content: &[u8],
    classes: &[usize],
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let too_large = || LedgerError::TooLarge {
        what,
        bytes: content.len(),
        max: capacity(classes),
    };
    let class = class_for(content.len(), classes).ok_or_else(too_large)?;
    let length = u32::try_from(content.len()).map_err(|_| too_large())?;
    let mut padded = Zeroizing::new(Vec::with_capacity(class));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(class, 0);
    Ok(padded)
}

/// Undoes [`pad`]. Each content has one padded form: any other is refused.
pub(super) fn unpad(padded: &[u8], classes: &[usize]) -> Result<Vec<u8>, LedgerError> {
    let broken = || LedgerError::SealBroken("its padding is not as it must be");
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>().ok_or_else(broken)?;
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| broken())?;
    let (content, zeros) = rest.split_at_checked(length).ok_or_else(broken)?;
    let canonical = class_for(length, classes) == Some(padded.len());
    if canonical && zeros.iter().all(|byte| *byte == 0) {
        Ok(content.to_vec())
    } else {
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_length_comes_back_and_takes_the_smallest_class() {
        for length in [0, 1, 1019, 1020, 1021, 4092, 4093, 48_124] {
            let content = vec![7; length];
            let padded = pad("parcel", &content, PARCEL_CLASSES).unwrap();
            assert!(PARCEL_CLASSES.contains(&padded.len()));
            assert_eq!(unpad(&padded, PARCEL_CLASSES).unwrap(), content);
        }
        assert_eq!(pad("p", &[1; 1020], PARCEL_CLASSES).unwrap().len(), 1024);
        assert_eq!(pad("p", &[1; 1021], PARCEL_CLASSES).unwrap().len(), 4096);
    }

    #[test]
    fn too_much_is_refused_with_its_figures() {
        let error = pad("parcel", &vec![0; 48_125], PARCEL_CLASSES).unwrap_err();
        assert_eq!(error.code(), "too_large");
        assert!(error.to_string().contains("48125") && error.to_string().contains("48124"));
    }

    #[test]
    fn only_one_padded_form_is_read() {
        let good = pad("p", b"abc", PARCEL_CLASSES).unwrap().to_vec();
        let mut dirty = good.clone();
        dirty[900] = 1;
        let mut larger = good.clone();
        larger.resize(4096, 0);
        let mut long = good.clone();
        long[..4].copy_from_slice(&2000u32.to_be_bytes());
        for bad in [
            dirty,
            larger,
            long,
            good[..1023].to_vec(),
            vec![],
            vec![0; 3],
        ] {
            assert!(unpad(&bad, PARCEL_CLASSES).is_err());
        }
    }
}
