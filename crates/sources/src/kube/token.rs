//! A token in a file, which is renewed there: that of a Pod's service account.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ::kube::client::Body;
use ::kube::config::AuthInfo;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};

/// The file, and what it said last.
///
/// It is read for each request, of which there are few: a token that is over is not sent once more. The client's own way is
/// to read it once a minute, and to be refused until then.
#[derive(Debug, Clone)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Arc<Mutex<HeaderValue>>,
}

impl TokenFile {
    /// Takes it out of what is said of the account. `None`: that is known by something else.
    ///
    /// # Errors
    /// It cannot be read, or holds no token.
    pub(super) fn take(account: &mut AuthInfo) -> Result<Option<TokenFile>, String> {
        let AuthInfo { username, password, token, auth_provider, .. } = &*account;
        let otherwise =
            token.is_some() || auth_provider.is_some() || (username.is_some() && password.is_some());
        let Some(path) = account.token_file.take_if(|_| !otherwise).map(PathBuf::from) else {
            return Ok(None);
        };
        let header = read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Some(TokenFile { path, last: Arc::new(Mutex::new(header)) }))
    }

    /// Puts the token into a request. A file that cannot be read now said what it said last.
    pub(super) fn sign(&self, mut request: Request<Body>) -> Request<Body> {
        // A panic under this lock leaves a token in it.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(now) = read(&self.path) {
            *last = now;
        }
        request.headers_mut().insert(AUTHORIZATION, last.clone());
        request
    }
}

fn read(path: &std::path::Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("the file is empty".to_owned());
    }
    // What is wrong with it is said without it.
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "not a token".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    // Test code: a failed expectation is a panic with a reason.
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn signed(file: &TokenFile) -> HeaderValue {
        let request = file.sign(Request::new(Body::empty()));
        request.headers().get(AUTHORIZATION).unwrap().clone()
    }

    #[test]
    fn each_request_bears_what_the_file_says_now_or_said_last() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        let mut account =
            AuthInfo { token_file: Some(path.to_string_lossy().into_owned()), ..AuthInfo::default() };
        assert!(TokenFile::take(&mut account.clone()).unwrap_err().contains("token: No such file"));
        std::fs::write(&path, "first\n").unwrap();
        let file = TokenFile::take(&mut account).unwrap().unwrap();
        assert_eq!(account.token_file, None, "nobody else signs");
        assert_eq!(signed(&file), "Bearer first");
        assert!(signed(&file).is_sensitive());
        std::fs::write(&path, "second").unwrap();
        assert_eq!(signed(&file), "Bearer second");
        for nothing in ["", "two\nlines"] {
            std::fs::write(&path, nothing).unwrap();
            assert_eq!(signed(&file), "Bearer second");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(signed(&file), "Bearer second");
    }

    #[test]
    fn what_stands_in_the_configuration_itself_goes_first() {
        let file = Some("/nowhere".to_owned());
        let token = Some(String::from("token").into());
        let mut account = AuthInfo { token_file: file.clone(), token, ..AuthInfo::default() };
        assert!(TokenFile::take(&mut account).unwrap().is_none());
        assert_eq!(account.token_file, file);
    }
}
