//! Requests to the hub: patience with its failures, its redirects followed, its token kept to it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use super::HubError;
use super::cache::home;

/// Attempts without any progress before giving up.
pub const ATTEMPTS: u32 = 5;

/// Before the second attempt; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that the hub may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// To connect, to begin to answer, and between two pieces of an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most redirects to follow.
const REDIRECTS: usize = 5;

/// The largest list of files.
const LARGEST_JSON: u64 = 32 << 20;

/// Sends requests.
pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// An answer with a body, and what the redirects to it said.
pub struct Answer {
    /// The last one.
    pub response: Response<Body>,
    /// Of all of them, the first one's first.
    pub headers: Vec<HeaderMap>,
}

impl Answer {
    /// A header of the first answer that has it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|headers| headers.get(name)?.to_str().ok())
    }
}

/// Why a request failed, and when to try again.
pub enum Failure {
    /// Never.
    Final(HubError),
    /// After a pause, which the hub may have said the length of.
    Passing(HubError, Option<Duration>),
}

impl Client {
    /// For the hub at `HF_ENDPOINT`, with the token of `HF_TOKEN` or of the file that `HF_TOKEN_PATH` names.
    pub fn from_env() -> Self {
        let endpoint =
            std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".into());
        let file = std::env::var_os("HF_TOKEN_PATH").map(PathBuf::from);
        let file = file.unwrap_or_else(|| home().join("token"));
        let token = std::env::var("HF_TOKEN").or_else(|_| fs::read_to_string(file)).ok();
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .user_agent(concat!("adamw-l2sp/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), endpoint: endpoint.trim_end_matches('/').to_owned(), token }
    }

    /// The hub's address, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Fetch a JSON document.
    ///
    /// # Errors
    /// As of all requests, or a document that is not what it should be.
    pub fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, HubError> {
        let mut attempt = 0;
        loop {
            let text = self.get(url, 0).and_then(|mut answer| {
                let body = answer.response.body_mut().with_config().limit(LARGEST_JSON);
                body.read_to_string().map_err(|error| passing(url, &error.to_string()))
            });
            match text {
                Ok(text) => {
                    return serde_json::from_str(&text).map_err(|error| HubError::Nonsense {
                        url: url.to_owned(),
                        reason: error.to_string(),
                    });
                }
                Err(failure) => wait(failure, &mut attempt)?,
            }
        }
    }

    /// One attempt at `url` from byte `from` on, through its redirects.
    ///
    /// # Errors
    /// No answer, or one that is neither 200 nor 206.
    pub fn get(&self, url: &str, from: u64) -> Result<Answer, Failure> {
        let mut headers = Vec::new();
        let mut place = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&place);
            if let Some(token) = self.token.as_ref().filter(|_| self.is_ours(&place)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| passing(url, &error.to_string()))?;
            let status = response.status().as_u16();
            headers.push(response.headers().clone());
            match status {
                200 | 206 => return Ok(Answer { response, headers }),
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get("location");
                    let location = location.and_then(|location| location.to_str().ok());
                    place = redirected(&place, location.unwrap_or_default()).ok_or_else(|| {
                        let reason = format!("it redirects to {:?}", location.unwrap_or_default());
                        Failure::Final(HubError::Nonsense { url: url.to_owned(), reason })
                    })?;
                }
                status => return Err(failure(url, status, response.headers())),
            }
        }
        let reason = "it redirects in a circle".to_owned();
        Err(Failure::Final(HubError::Nonsense { url: url.to_owned(), reason }))
    }

    /// Whether a place is the hub itself, which may see the token.
    fn is_ours(&self, place: &str) -> bool {
        place.strip_prefix(&self.endpoint).is_some_and(|path| path.starts_with('/'))
    }
}

/// Wait until the next attempt; the error if there is to be none.
///
/// # Errors
/// A final failure, or one attempt too many.
pub fn wait(failure: Failure, attempt: &mut u32) -> Result<(), HubError> {
    *attempt += 1;
    match failure {
        Failure::Final(error) => Err(error),
        Failure::Passing(error, _) if *attempt >= ATTEMPTS => Err(error),
        Failure::Passing(error, Some(pause)) if pause > LONGEST_PAUSE => Err(error),
        Failure::Passing(error, pause) => {
            let pause = pause.unwrap_or(FIRST_PAUSE * 2u32.pow(*attempt - 1));
            eprintln!("{error}; next attempt in {:.1} s", pause.as_secs_f64());
            sleep(pause);
            Ok(())
        }
    }
}

/// A failure of the connection.
pub fn passing(url: &str, reason: &str) -> Failure {
    let error = HubError::Transport { url: url.to_owned(), reason: reason.to_owned() };
    Failure::Passing(error, None)
}

/// What a status other than success means.
fn failure(url: &str, status: u16, headers: &HeaderMap) -> Failure {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let url = url.to_owned();
    let message = header("x-error-message").unwrap_or_default().to_owned();
    match status {
        401 | 403 => Failure::Final(HubError::Refused { url, status, message }),
        404 => Failure::Final(HubError::NotFound { url, message }),
        408 | 429 | 500..=599 => {
            let pause = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
            let error = HubError::Status { url, status, message };
            Failure::Passing(error, pause.map(Duration::from_secs))
        }
        _ => Failure::Final(HubError::Status { url, status, message }),
    }
}

/// Where a redirect leads: to another address, or to another path of the same; never from HTTPS to plain HTTP.
fn redirected(from: &str, location: &str) -> Option<String> {
    if location.starts_with("https://")
        || (location.starts_with("http://") && from.starts_with("http://"))
    {
        return Some(location.to_owned());
    }
    let base: Uri = from.parse().ok()?;
    let is_path = location.starts_with('/') && !location.starts_with("//");
    is_path.then_some(format!("{}://{}{location}", base.scheme_str()?, base.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted() {
        let from = "https://hub.example:8443/a/b";
        assert_eq!(redirected(from, "/c?d").as_deref(), Some("https://hub.example:8443/c?d"));
        assert_eq!(
            redirected(from, "https://cdn.example/e").as_deref(),
            Some("https://cdn.example/e")
        );
        for location in ["http://cdn.example/e", "//cdn.example/e", "file:///etc/passwd", "e", ""] {
            assert_eq!(redirected(from, location), None, "{location}");
        }
        assert!(redirected("http://127.0.0.1:1/a", "http://127.0.0.1:2/b").is_some());
    }

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let client = Client {
            agent: Agent::new_with_defaults(),
            endpoint: "https://hub.example".into(),
            token: Some("secret".into()),
        };
        assert!(client.is_ours("https://hub.example/a"));
        for place in ["https://hub.example.evil/a", "https://cdn.example/a", "http://hub.example/a"]
        {
            assert!(!client.is_ours(place), "{place}");
        }
    }
}
