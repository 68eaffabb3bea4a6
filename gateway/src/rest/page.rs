use crate::rows::values::BASE64;
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use bytes::Bytes;
use common::ids::TableId;
use common::version::VersionMap;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD);

/// Where the next page of a read begins, and at which version all its pages are read. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageToken {
    /// The table that the read began with.
    table: TableId,
    /// Of the read's parameters: a token goes on with its own read only.
    query: String,
    /// The snapshot.
    pub version: VersionMap,
    /// The last key that was given out.
    pub after: Bytes,
}

impl PageToken {
    /// A token of the read of `table` with these parameters.
    #[must_use]
    pub fn new(table: TableId, params: &[(String, String)], version: VersionMap, after: Bytes) -> Self {
        Self { table, query: fingerprint(params), version, after }
    }

    /// The text for clients.
    ///
    /// # Errors
    /// `Internal` if it does not encode.
    pub fn encode(&self) -> Result<String> {
        let json = serde_json::to_vec(self).map_err(|e| Error::internal(format!("a page token does not encode: {e}")))?;
        Ok(URL_SAFE.encode(json))
    }

    /// Reads a client's token.
    ///
    /// # Errors
    /// `InvalidArgument` for a text that is none, or is of another read.
    pub fn decode(text: &str, table: TableId, params: &[(String, String)]) -> Result<Self> {
        let wrong = || Error::invalid("page_token is not one of this gateway's: pass on next_page_token as it was given");
        let json = URL_SAFE.decode(text).map_err(|_| wrong())?;
        let token: Self = serde_json::from_slice(&json).map_err(|_| wrong())?;
        if (token.table, token.query.as_str()) != (table, fingerprint(params).as_str()) {
            return Err(Error::invalid("page_token belongs to another read: repeat the parameters that it came from"));
        }
        Ok(token)
    }
}

/// Of all parameters that decide which rows a read gives; the page size may change on the way.
fn fingerprint(params: &[(String, String)]) -> String {
    let mut counted: Vec<_> = params.iter().filter(|(n, _)| !matches!(n.as_str(), "limit" | "page_token")).collect();
    counted.sort();
    let mut hash = Sha256::new();
    for (name, value) in counted {
        for text in [name, value] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
    BASE64.encode(&hash.finalize()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::Seq;

    #[test]
    fn a_token_goes_on_with_its_own_read_only() {
        let params = |text: &[(&str, &str)]| text.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let read = params(&[("user", "u"), ("limit", "5"), ("from", "2016")]);
        let token = PageToken::new(TableId(3), &read, VersionMap::whole(Seq(9)), Bytes::from_static(&[0, 255]));
        let text = token.encode().unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{text}");
        let same = params(&[("from", "2016"), ("user", "u"), ("limit", "7"), ("page_token", &text)]);
        assert_eq!(PageToken::decode(&text, TableId(3), &same).unwrap(), token);
        assert!(PageToken::decode(&text, TableId(4), &same).is_err());
        assert!(PageToken::decode(&text, TableId(3), &params(&[("user", "v"), ("from", "2016")])).is_err());
        assert!(PageToken::decode("nonsense!", TableId(3), &same).is_err());
    }
}
