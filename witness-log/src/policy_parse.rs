//! Reading the text of a policy, line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use crate::codec::decimal;
use crate::error::LogError;
use crate::note::{KeyKind, VerifierKey};
use crate::policy::{
    Group, MAX_POLICY_BYTES, MAX_POLICY_ITEMS, Member, Policy, PolicyCosigner, PolicyLog,
};

/// What has been read so far.
struct Parser {
    policy: Policy,
    names: BTreeMap<Vec<u8>, Member>,
    /// Names that are members of a group already: each may be one once, in the whole policy.
    used: BTreeSet<Vec<u8>>,
    quorum_seen: bool,
}

type LineResult<T> = Result<T, &'static str>;

pub(crate) fn parse(bytes: &[u8]) -> Result<Policy, LogError> {
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(LogError::TooLarge {
            what: "a policy",
            limit: MAX_POLICY_BYTES,
        });
    }
    let malformed = |line, why| LogError::PolicyMalformed { line, why };
    let allowed = |b: &u8| matches!(b, b'\t' | b'\n' | 0x20..=0x7e | 0x80..);
    if !bytes.iter().all(allowed) {
        return Err(malformed(0, "it holds a control character"));
    }
    let body = bytes
        .strip_suffix(b"\n")
        .ok_or(malformed(0, "its last line has no end"))?;
    let mut parser = Parser {
        policy: Policy {
            bytes: bytes.to_vec(),
            logs: Vec::new(),
            cosigners: Vec::new(),
            groups: Vec::new(),
            quorum: None,
        },
        names: BTreeMap::new(),
        used: BTreeSet::new(),
        quorum_seen: false,
    };
    for (at, line) in body.split(|b| *b == b'\n').enumerate() {
        let words: Vec<&[u8]> = line
            .split(|b| matches!(b, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        parser.line(&words).map_err(|why| malformed(at + 1, why))?;
    }
    if !parser.quorum_seen {
        return Err(malformed(0, "it has no quorum line"));
    }
    Ok(parser.policy)
}

impl Parser {
    fn line(&mut self, words: &[&[u8]]) -> LineResult<()> {
        match words {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key, url @ ..] => self.log(key, url),
            [b"witness", name, key, url @ ..] => self.cosigner(name, key, url),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err("this is no line of a policy"),
        }
    }

    fn log(&mut self, key: &[u8], url: &[&[u8]]) -> LineResult<()> {
        let key = parse_key(key, KeyKind::Ed25519)?;
        let url = parse_url(url)?;
        if self
            .policy
            .logs
            .iter()
            .any(|log| log.key.public() == key.public())
        {
            return Err("this key is a log's already");
        }
        // A contradiction between two keys of one log would convict neither.
        if self.policy.log(key.name()).is_some() {
            return Err("this origin is a log's already");
        }
        bounded(self.policy.logs.len())?;
        self.policy.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn cosigner(&mut self, name: &[u8], key: &[u8], url: &[&[u8]]) -> LineResult<()> {
        let key = parse_key(key, KeyKind::Cosignature)?;
        let url = parse_url(url)?;
        if self
            .policy
            .cosigner_keys()
            .any(|known| known.public() == key.public())
        {
            return Err("this key is a cosigner's already");
        }
        bounded(self.policy.cosigners.len())?;
        self.define(name, Member::Cosigner(self.policy.cosigners.len()))?;
        self.policy.cosigners.push(PolicyCosigner {
            name: name.to_vec(),
            key,
            url,
        });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> LineResult<()> {
        bounded(self.policy.groups.len())?;
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            found.push(
                *self
                    .names
                    .get(*member)
                    .ok_or("a member is not defined above")?,
            );
            if !self.used.insert(member.to_vec()) {
                return Err("a member is a member already");
            }
        }
        let threshold = match threshold {
            b"any" => Some(1),
            b"all" => Some(found.len()),
            number => std::str::from_utf8(number)
                .ok()
                .and_then(decimal)
                .and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = threshold
            .filter(|k| (1..=found.len()).contains(k))
            .ok_or("a threshold is all, any or a number between 1 and that of the members")?;
        self.define(name, Member::Group(self.policy.groups.len()))?;
        self.policy.groups.push(Group {
            threshold,
            members: found,
        });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> LineResult<()> {
        if self.quorum_seen {
            return Err("there is a quorum line already");
        }
        self.quorum_seen = true;
        if name != b"none" {
            let member = self
                .names
                .get(name)
                .ok_or("the quorum is not defined above")?;
            self.policy.quorum = Some(*member);
        }
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> LineResult<()> {
        if name == b"none" {
            return Err("the name none is taken");
        }
        match self.names.insert(name.to_vec(), member) {
            None => Ok(()),
            Some(_) => Err("this name is defined already"),
        }
    }
}

fn bounded(count: usize) -> LineResult<()> {
    if count < MAX_POLICY_ITEMS {
        Ok(())
    } else {
        Err("there are too many of these lines")
    }
}

fn parse_key(word: &[u8], kind: KeyKind) -> LineResult<VerifierKey> {
    let text = std::str::from_utf8(word).map_err(|_| "a key is UTF-8")?;
    let key = VerifierKey::from_str(text).map_err(|_| "this is no usable verifier key")?;
    if key.kind() == kind {
        Ok(key)
    } else {
        Err("a log's key is of type 0x01, a cosigner's of type 0x04")
    }
}

fn parse_url(words: &[&[u8]]) -> LineResult<Option<String>> {
    match words {
        [] => Ok(None),
        [url] => std::str::from_utf8(url)
            .map(|url| Some(url.to_owned()))
            .map_err(|_| "a URL is UTF-8"),
        _ => Err("something follows the URL"),
    }
}
