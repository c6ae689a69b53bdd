//! Probing a backend over HTTP, with the client ureq.
//!
//! | what happens | the probe says |
//! |---|---|
//! | status 2xx | alive |
//! | any other status, a redirect too | unwell |
//! | something that is not HTTP; the connection is taken and then closed or reset | unwell |
//! | connecting takes too long | timed out |
//! | sending or answering takes too long | timed out |
//! | the connection is refused, there is no route, or no host of that name | dead |
//!
//! Plain HTTP alone: the backend is a process of this machine. Proxies of the environment are not asked, and every
//! probe makes a new connection, because an open one may belong to an earlier process.

use super::backend::{Backend, Probe};
use super::error::Error;
use super::failure::{Failure, FailureKind};
use std::io;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// Probes the backend at a URL.
///
/// ```
/// use seawall::supervisor::{HttpProbe, Probe};
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
/// # drop(listener);
/// let probe = HttpProbe::new(format!("http://127.0.0.1:{port}/health"))?;
/// assert_eq!(probe.probe(), Probe::Dead, "no process listens there");
/// assert!(HttpProbe::new("ftp://127.0.0.1/").unwrap_err().is_bad_url());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpProbe {
    url: String,
    agent: Agent,
}

impl HttpProbe {
    /// How long an answer may take, unless told otherwise, from connecting to the end of the headers. Field report:
    /// 5 s.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A probe that GETs `url`, such as `http://127.0.0.1:8080/health`.
    ///
    /// # Errors
    /// [`Error::is_bad_url`]: it is no URL, it has no host, or its scheme is not `http`.
    pub fn new(url: impl Into<String>) -> Result<HttpProbe, Error> {
        let url = url.into();
        let parsed: Uri = url.parse().map_err(|error| Error::url(&url, format!("{error}")))?;
        if parsed.scheme_str() != Some("http") {
            return Err(Error::url(&url, "the scheme is not http"));
        }
        if parsed.host().is_none_or(str::is_empty) {
            return Err(Error::url(&url, "there is no host in it"));
        }
        Ok(HttpProbe { url, agent: agent(HttpProbe::TIMEOUT) })
    }

    /// How long an answer may take.
    pub fn timeout(self, timeout: Duration) -> HttpProbe {
        HttpProbe { agent: agent(timeout), ..self }
    }

    /// How the backend is.
    pub fn probe(&self) -> Probe {
        probe_result(self.agent.get(&self.url).call().map(|response| response.status().as_u16()))
    }
}

impl Backend for HttpProbe {
    fn probe(&mut self) -> Probe {
        HttpProbe::probe(self)
    }
}

fn agent(timeout: Duration) -> Agent {
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .new_agent()
}

fn probe_result(answer: Result<u16, ureq::Error>) -> Probe {
    match answer {
        Ok(200..=299) => Probe::Alive,
        Ok(_) => Probe::Unwell,
        Err(ureq::Error::Timeout(_)) => Probe::TimedOut,
        Err(ureq::Error::Io(error)) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Probe::TimedOut,
            // The connection had been accepted.
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Probe::Unwell,
            _ => Probe::Dead,
        },
        Err(ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => Probe::Dead,
        Err(_) => Probe::Unwell,
    }
}

/// For jobs that use the same client.
impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Failure {
        let kind = match error {
            ureq::Error::StatusCode(status) => return Failure::of_status(status),
            ureq::Error::Io(error) => return Failure::from(error),
            ureq::Error::Timeout(_) => FailureKind::Timeout,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => FailureKind::Unreachable,
            ureq::Error::Protocol(_) => FailureKind::Server,
            _ => FailureKind::Item,
        };
        Failure::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::Timeout;

    #[test]
    fn a_timeout_is_a_timeout_in_every_phase_and_never_a_death() {
        for phase in [Timeout::Global, Timeout::Resolve, Timeout::Connect, Timeout::SendRequest, Timeout::RecvResponse]
        {
            assert_eq!(probe_result(Err(ureq::Error::Timeout(phase))), Probe::TimedOut, "{phase:?}");
            assert_eq!(Failure::from(ureq::Error::Timeout(phase)).kind(), FailureKind::Timeout, "{phase:?}");
            let wrapped = ureq::Error::Timeout(phase).into_io();
            assert_eq!(Failure::from(wrapped).kind(), FailureKind::Timeout, "{phase:?}, as an error of a body");
        }
        let error = || ureq::Error::Io(io::ErrorKind::TimedOut.into());
        assert_eq!(
            (probe_result(Err(error())), Failure::from(error()).kind()),
            (Probe::TimedOut, FailureKind::Timeout)
        );
    }

    #[test]
    fn a_refusal_is_a_death_and_a_dropped_connection_is_none() {
        for (kind, probe) in [
            (io::ErrorKind::ConnectionRefused, Probe::Dead),
            (io::ErrorKind::HostUnreachable, Probe::Dead),
            (io::ErrorKind::ConnectionReset, Probe::Unwell),
            (io::ErrorKind::UnexpectedEof, Probe::Unwell),
        ] {
            assert_eq!(probe_result(Err(ureq::Error::Io(kind.into()))), probe, "{kind:?}");
            assert_eq!(Failure::from(ureq::Error::Io(kind.into())).kind(), FailureKind::Unreachable, "{kind:?}");
        }
        for (status, probe) in [(200, Probe::Alive), (204, Probe::Alive), (302, Probe::Unwell), (500, Probe::Unwell)] {
            assert_eq!(probe_result(Ok(status)), probe, "{status}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_probed_is_refused_with_the_reason() {
        for (url, reason) in [
            ("https://127.0.0.1/", "the scheme is not http"),
            ("127.0.0.1:80", "the scheme is not http"),
            ("/health", "the scheme is not http"),
            ("http://", ""),
            ("", ""),
        ] {
            let error = HttpProbe::new(url).unwrap_err();
            assert!(error.is_bad_url() && error.to_string().contains(reason), "{error}");
        }
    }
}
