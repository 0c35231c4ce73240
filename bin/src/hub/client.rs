//! HTTP requests to the hub: which hub, with which token, and when to try again.

use std::thread::sleep;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder, ResponseExt};

use super::cache::home;
use super::error::HubError;
use super::listing::Listing;
use super::repo::{Repo, encoded};
use crate::environment;
use crate::terminal::notice;

/// Attempts without progress before giving up.
const ATTEMPTS: u32 = 5;

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest `Retry-After` that is waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// To connect, until the headers of an answer are complete, and between two reads.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most redirects that are followed.
const REDIRECTS: u32 = 5;

/// The largest listing, in bytes.
const LARGEST_LISTING: u64 = 32 << 20;

/// The slowest transfer that is waited for: fewer than `bytes` in `period` are a failure, like a cut connection. A limit
/// on the time between two reads alone would wait for ever for a hub that sends a byte every few seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes of a file in each period. Less than that is no progress.
    pub bytes: u64,
    /// How long a period is. A listing has to be complete within one.
    pub period: Duration,
}

impl Default for Pace {
    /// 64 KiB a minute.
    fn default() -> Self {
        Self { bytes: 64 << 10, period: Duration::from_secs(60) }
    }
}

/// A hub and how to ask it.
pub(crate) struct Client {
    api: Api,
    agent: Agent,
    token: Option<String>,
    /// The slowest transfer that is waited for.
    pub pace: Pace,
}

/// Why a request failed, and whether to try again.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Never again.
    Final(HubError),
    /// After a pause, which the hub may have set.
    Passing(HubError, Option<Duration>),
}

impl Client {
    /// For the hub at `HF_ENDPOINT`, with the token in `HF_TOKEN` or in the file that `HF_TOKEN_PATH` names.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn from_env() -> Result<Self, HubError> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co");
        let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty());
        let token = token.or_else(|| match environment::path("HF_TOKEN_PATH") {
            Some(path) => std::fs::read_to_string(path).ok(),
            None => hf_hub::Cache::new(home().join("hub")).token(),
        });
        Self::new(endpoint, token, Pace::default())
    }

    /// For the hub at `endpoint`.
    ///
    /// # Errors
    /// An endpoint that is no address of HTTP or HTTPS.
    pub(crate) fn new(endpoint: &str, token: Option<String>, pace: Pace) -> Result<Self, HubError> {
        let uri = endpoint.parse::<Uri>().ok().filter(|uri| uri.query().is_none());
        let is_https = match uri.as_ref().and_then(Uri::scheme_str) {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(HubError::Endpoint(endpoint.to_owned())),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(is_https)
            .max_redirects(REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            // A compressed answer could be neither resumed nor compared with the file's size.
            .accept_encoding("identity")
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .user_agent(concat!("l2sp/", env!("CARGO_PKG_VERSION")))
            .build();
        let api = ApiBuilder::from_cache(hf_hub::Cache::new(home().join("hub")))
            .with_endpoint(endpoint.trim_end_matches('/').to_owned())
            .with_token(token.clone())
            .with_user_agent("l2sp", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| HubError::Transport {
                url: endpoint.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self { api, agent: config.into(), token, pace })
    }

    /// What a repository's revision holds.
    ///
    /// # Errors
    /// No answer, or one that is no listing.
    pub(crate) fn listing(&self, repo: &Repo) -> Result<Listing, HubError> {
        let api = self.api.repo(repo.to_hub());
        let mut attempt = 0;
        loop {
            let request = api.info_request().query("blobs", "true");
            let url = request.uri_ref().map(|uri| format!("{uri}?blobs=true")).unwrap_or_default();
            // hf-hub's agent cannot be configured, its requests can.
            let request = request
                .config()
                .http_status_as_error(false)
                .https_only(self.agent.config().https_only())
                .timeout_global(Some(self.pace.period))
                .build();
            let text = answer(&url, request).and_then(|mut response| {
                let body = response.body_mut().with_config().limit(LARGEST_LISTING);
                body.read_to_string().map_err(|error| {
                    let seconds = self.pace.period.as_secs_f64();
                    passing(&url, &format!("no complete listing within {seconds} s: {error}"))
                })
            });
            match text {
                Ok(text) => {
                    return Listing::parse(&text)
                        .map_err(|reason| HubError::Nonsense { url, reason });
                }
                Err(failure) => wait(failure, &mut attempt)?,
            }
        }
    }

    /// The address of a file in a commit.
    pub(crate) fn url(&self, repo: &Repo, commit: &str, name: &str) -> String {
        self.api.repo(repo.at_commit(commit)).url(&encoded(name))
    }

    /// One attempt at `url` from byte `from` on.
    ///
    /// # Errors
    /// No answer, or one that is neither 200 nor 206.
    pub(crate) fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        answer(url, request)
    }
}

/// The answer to a request, if it is 200 or 206. ureq follows redirects, and leaves the token out where they lead to
/// another host or from HTTPS to HTTP.
fn answer(url: &str, request: RequestBuilder<WithoutBody>) -> Result<Response<Body>, Failure> {
    let response = request.call().map_err(|error| match error {
        ureq::Error::TooManyRedirects => {
            nonsense(url, format!("it redirects more than {REDIRECTS} times"))
        }
        ureq::Error::RequireHttpsOnly(place) => {
            nonsense(url, format!("it redirects to {place}, which is not encrypted"))
        }
        // ureq does not tell which of the two it was.
        error => passing(
            url,
            &format!("no answer from this address, or from the one it redirects to: {error}"),
        ),
    })?;
    let status = response.status().as_u16();
    if [200, 206].contains(&status) {
        return Ok(response);
    }
    let mut message = header(response.headers(), "x-error-message").unwrap_or_default().to_owned();
    let reached = response.get_uri();
    if reached != url {
        // Without the query, which may hold a signature.
        let host = reached.host().unwrap_or_default();
        message = format!("it redirects to {host}{}; {message}", reached.path());
    }
    let pause = header(response.headers(), "retry-after");
    let pause = pause.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    let error = HubError::Status { url: url.to_owned(), status, message };
    Err(match status {
        408 | 429 | 500..=599 => Failure::Passing(error, pause),
        _ => Failure::Final(error),
    })
}

/// A header's value, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Pause before the next attempt.
///
/// # Errors
/// The failure itself, if it is final or the last attempt's.
pub(crate) fn wait(failure: Failure, attempt: &mut u32) -> Result<(), HubError> {
    *attempt += 1;
    match failure {
        Failure::Final(error) => Err(error),
        Failure::Passing(error, _) if *attempt >= ATTEMPTS => Err(error),
        Failure::Passing(error, Some(pause)) if pause > LONGEST_PAUSE => Err(error),
        Failure::Passing(error, pause) => {
            let pause = pause.unwrap_or(FIRST_PAUSE * 2u32.pow(*attempt - 1));
            notice(format_args!("{error}; retrying in {:.1} s", pause.as_secs_f64()));
            sleep(pause);
            Ok(())
        }
    }
}

/// A failure of the connection.
pub(crate) fn passing(url: &str, reason: &str) -> Failure {
    let error = HubError::Transport { url: url.to_owned(), reason: reason.to_owned() };
    Failure::Passing(error, None)
}

/// An answer that makes no sense.
pub(crate) fn nonsense(url: &str, reason: String) -> Failure {
    Failure::Final(HubError::Nonsense { url: url.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Result<Client, HubError> {
        Client::new(endpoint, None, Pace::default())
    }

    #[test]
    fn an_endpoint_is_an_address_of_http() {
        for endpoint in ["https://hub.example", "http://127.0.0.1:8080/", "https://a.example/hub/"]
        {
            client(endpoint).expect("an address");
        }
        for endpoint in ["huggingface.co", "ftp://a.example", "file:///a", "https://", "/a", "a b"]
        {
            let Err(error) = client(endpoint) else { panic!("{endpoint} is accepted") };
            assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
        }
    }

    #[test]
    fn an_encrypted_hub_is_never_left_for_plain_http() {
        for (endpoint, encrypted) in [
            ("https://hub.example", true),
            ("HTTPS://hub.example", true),
            ("http://hub.example", false),
        ] {
            let client = client(endpoint).expect("an address");
            assert_eq!(client.agent.config().https_only(), encrypted);
        }
    }

    #[test]
    fn a_file_has_one_address_for_ever() {
        let repo = Repo::parse("a/b@refs/pr/1", crate::hub::repo::Kind::Model).expect("a name");
        let client = client("https://hub.example/").expect("an address");
        let url = client.url(&repo, "0123", "x/y z.json");
        assert_eq!(url, "https://hub.example/a/b/resolve/0123/x/y%20z.json");
    }
}
