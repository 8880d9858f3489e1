//! Owns which hosts may be talked to: the rules for URLs that a vendor hands out, and for the addresses they resolve to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use chat_core::{Error, ErrorKind};
use url::{Host, Url};

/// Which URLs are acceptable.
///
/// Two starting points: [`HostPolicy::configured`] for addresses that a person wrote into the configuration, and
/// [`HostPolicy::vendor`] for URLs that arrive in answers (sockets, presigned uploads and downloads). Whatever the
/// policy: no user information in the URL, no link-local address (metadata services), no scheme but `http(s)` and `ws(s)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    hosts: Option<Arc<[String]>>,
    loopback: bool,
    private: bool,
    plain_text: bool,
}

impl Default for HostPolicy {
    fn default() -> Self {
        Self::configured()
    }
}

impl HostPolicy {
    /// Any host, private networks included, over TLS; plain text to loopback only.
    pub fn configured() -> Self {
        Self { hosts: None, loopback: true, private: true, plain_text: false }
    }

    /// Hosts that equal one of `suffixes` or end in `.` and one of them, over TLS, at public addresses only. Where private
    /// name resolution maps the vendor's names to private addresses (private links), add [`allow_private`](Self::allow_private).
    pub fn vendor<I>(suffixes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let hosts = suffixes.into_iter().map(|suffix| normal(suffix.as_ref())).collect();
        Self { hosts: Some(hosts), loopback: false, private: false, plain_text: false }
    }

    /// Any host at a public address, over TLS.
    pub fn public() -> Self {
        Self { hosts: None, loopback: false, private: false, plain_text: false }
    }

    /// Allows one more host, with all its subdomains (or one IP address, as written in a URL).
    #[must_use]
    pub fn allow_host(mut self, suffix: impl AsRef<str>) -> Self {
        if let Some(hosts) = &self.hosts {
            self.hosts = Some(hosts.iter().cloned().chain([normal(suffix.as_ref())]).collect());
        }
        self
    }

    /// Allows `localhost` and loopback addresses, also in plain text: simulators and tests.
    #[must_use]
    pub fn loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Allows private addresses (never link-local ones).
    #[must_use]
    pub fn allow_private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Allows `http` and `ws` to any allowed host.
    #[must_use]
    pub fn allow_plain_text(mut self) -> Self {
        self.plain_text = true;
        self
    }

    /// Checks a URL and gives it in the normal form that was checked; use that one, for parsers differ.
    ///
    /// # Errors
    /// [`ErrorKind::HostRefused`], with the host's name and the reason, never the URL.
    pub fn check(&self, url: &str) -> Result<::http::Uri, Error> {
        let url = self.parse(url)?;
        url.as_str().parse().map_err(|_| refused(None, "is no acceptable URL"))
    }

    pub(crate) fn parse(&self, url: &str) -> Result<Url, Error> {
        let url = Url::parse(url).map_err(|_| refused(None, "is no URL"))?;
        match self.examine(&url) {
            Ok(()) => Ok(url),
            Err(reason) => Err(refused(url.host_str(), reason)),
        }
    }

    fn examine(&self, url: &Url) -> Result<(), &'static str> {
        let secure = match url.scheme() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err("has another scheme than https or wss"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("comes with user information");
        }
        let host = url.host().ok_or("is missing")?;
        let loopback = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => Class::of(IpAddr::V6(*ip)) == Class::Loopback,
        };
        if !(secure || self.plain_text || loopback && self.loopback) {
            return Err("is asked for in plain text");
        }
        if loopback {
            return if self.loopback { Ok(()) } else { Err("is this machine") };
        }
        let ip = match &host {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(*ip)),
        };
        if let Some(ip) = ip
            && !self.permits(ip)
        {
            return Err("is a private address");
        }
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let name = normal(&host.to_string());
        let listed = hosts.iter().any(|allowed| match name.strip_suffix(allowed.as_str()) {
            Some("") => true,
            // An address has no subdomains.
            Some(rest) => ip.is_none() && rest.ends_with('.'),
            None => false,
        });
        if listed { Ok(()) } else { Err("is not on the list") }
    }

    /// Whether names may lead anywhere but to public addresses.
    pub(crate) fn allows_private(&self) -> bool {
        self.private
    }

    /// Whether a name other than `localhost` may lead to this address.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        match Class::of(ip) {
            Class::Public => true,
            Class::Loopback | Class::Private => self.private,
            Class::Never => false,
        }
    }

    /// Whether `name` may lead to this address: the check that name resolution is held to, against rebinding.
    pub(crate) fn permits_resolved(&self, name: &str, ip: IpAddr) -> bool {
        self.permits(ip) || self.loopback && name == "localhost" && Class::of(ip) == Class::Loopback
    }
}

/// Whether two URLs share scheme, host and port. Credentials go to the origin they belong to and to no other.
pub fn same_origin(a: &::http::Uri, b: &::http::Uri) -> bool {
    match (Url::parse(&a.to_string()), Url::parse(&b.to_string())) {
        (Ok(a), Ok(b)) => a.origin().is_tuple() && a.origin() == b.origin(),
        _ => false,
    }
}

fn normal(host: &str) -> String {
    host.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase()
}

pub(crate) fn refused(host: Option<&str>, reason: &'static str) -> Error {
    let host: String = host.unwrap_or("the host").chars().take(253).collect();
    Error::new(ErrorKind::HostRefused, format!("{host} {reason}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Public,
    Loopback,
    Private,
    /// Link-local, unspecified, multicast and the like: nothing that a chat service lives at.
    Never,
}

impl Class {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [169, 254, ..] | [0, ..] | [224..=255, ..] => Self::Never,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Self::Private,
            // Carrier-grade NAT, protocol assignments, benchmarks, documentation.
            [100, 64..=127, ..]
            | [192, 0, 0 | 2, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Unspecified; mapped, compatible and translated IPv4; 6to4.
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Never,
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                embedded(high, low)
            }
            [0x2002, high, low, ..] => embedded(high, low),
            [0xfd00, 0xec2, ..] => Self::Never,
            [0xfc00..=0xfdff, ..] | [0x64, 0xff9b, 1, ..] | [0x2001, 0 | 0xdb8, ..] => Self::Private,
            [0xfe80..=0xfeff, ..] | [0xff00..=0xffff, ..] => Self::Never,
            _ => Self::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vendor() -> HostPolicy {
        HostPolicy::vendor(["amazonaws.com", ".Example.org"])
    }

    #[test]
    fn urls_of_the_vendor_pass() {
        for url in [
            "https://amazonaws.com/",
            "https://x.transport.connect.eu-central-1.amazonaws.com/gateway?X-Signature=abc",
            "wss://AMAZONAWS.com:8443/a",
            "https://bucket.example.org./x",
            "https://%61mazonaws.com/",
        ] {
            assert!(vendor().check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn urls_of_others_do_not() {
        for url in [
            "",
            "amazonaws.com",
            "//amazonaws.com/",
            "https://",
            "file:///etc/passwd",
            "ftp://amazonaws.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "http://amazonaws.com/",
            "ws://amazonaws.com/",
            "https://evil-amazonaws.com/",
            "https://amazonaws.com.evil.org/",
            "https://evil.org/amazonaws.com",
            "https://evil.org?.amazonaws.com",
            "https://evil.org#.amazonaws.com",
            "https://evil.org\\.amazonaws.com/",
            "https://evil.org\\@amazonaws.com/",
            "https://user@amazonaws.com/",
            "https://user:pass@amazonaws.com/",
            "https://amazonaws.com@evil.org/",
            "https://amazonaws.com:443@evil.org/",
            "https://аmazonaws.com/",
            "https://127.0.0.1/",
            "http://127.0.0.1/",
            "https://localhost/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/",
            "https://0.0.0.0/",
            "https://8.8.8.8/",
            "https://[fd00:ec2::254]/",
        ] {
            let error = vendor().check(url).expect_err(url);
            assert_eq!(error.kind(), &ErrorKind::HostRefused, "{url}");
            assert_eq!(error.delivery(), chat_core::Delivery::NotSent);
        }
    }

    #[test]
    fn loopback_is_for_tests_and_may_be_plain() {
        let policy = vendor().loopback();
        for url in [
            "http://127.0.0.1:8080/",
            "ws://127.9.9.9/x",
            "http://[::1]:1/",
            "ws://localhost:1/",
            "https://localhost/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(policy.check(url).is_ok(), "{url}");
        }
        for url in
            ["http://10.0.0.1/", "http://amazonaws.com/", "http://localhost.evil.org/", "http://x.localhost/"]
        {
            assert!(policy.check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_configured_host_may_be_private_but_never_link_local() {
        let policy = HostPolicy::configured();
        for url in ["https://10.1.2.3/", "https://chat.corp/", "http://127.0.0.1:1/", "https://[fd12::1]/"] {
            assert!(policy.check(url).is_ok(), "{url}");
        }
        for url in
            ["http://chat.corp/", "https://169.254.169.254/", "https://[fe80::1]/", "https://u:p@chat.corp/"]
        {
            assert!(policy.check(url).is_err(), "{url}");
        }
        assert!(policy.allow_plain_text().check("http://chat.corp/").is_ok());
    }

    #[test]
    fn one_address_can_be_allowed_by_name() {
        let policy = vendor().allow_host("8.8.8.8");
        assert!(policy.check("https://8.8.8.8/").is_ok());
        assert!(policy.check("https://1.8.8.8.8/").is_err());
        assert!(vendor().allow_host("10.0.0.1").check("https://10.0.0.1/").is_err(), "private stays private");
    }

    #[test]
    fn the_error_names_the_host_and_not_the_url() {
        let error = vendor().check("https://evil.org/path?token=s3cr3t").unwrap_err();
        assert_eq!(error.to_string(), "host refused by policy: evil.org is not on the list");
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }

    #[test]
    fn names_must_not_lead_to_private_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for bad in [
            "127.0.0.1",
            "10.0.0.8",
            "192.168.1.1",
            "169.254.169.254",
            "::1",
            "::ffff:10.0.0.1",
            "fd00::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "100.64.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!vendor().permits_resolved("x.amazonaws.com", ip(bad)), "{bad}");
        }
        for good in ["52.1.2.3", "2600:1f18::1", "64:ff9b::3401:203"] {
            assert!(vendor().permits_resolved("x.amazonaws.com", ip(good)), "{good}");
        }
        assert!(vendor().loopback().permits_resolved("localhost", ip("127.0.0.1")));
        assert!(!vendor().loopback().permits_resolved("x.amazonaws.com", ip("127.0.0.1")));
        assert!(vendor().allow_private().permits_resolved("x.amazonaws.com", ip("10.0.0.8")));
        assert!(!vendor().allow_private().permits_resolved("x.amazonaws.com", ip("169.254.169.254")));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://A.org/x", "https://a.org:443/y?z"));
        assert!(!same("https://a.org", "http://a.org"));
        assert!(!same("https://a.org", "https://a.org:444"));
        assert!(!same("https://a.org", "https://b.a.org"));
        assert!(!same("/x", "/x"));
    }

    proptest! {
        /// Whatever the spelling: what passes leads to the vendor, also in the eyes of another parser.
        #[test]
        fn what_passes_belongs_to_the_vendor(
            scheme in "(https|wss|http|HTTPS|ftp|https:|javascript)",
            slashes in "(:|:/|://|:///|:\\\\\\\\|:/\\\\)",
            user in "(|a@|a:b@|amazonaws.com@|%40|@|amazonaws.com:1@)",
            host in "(evil\\.org|127\\.1|0x7f\\.0\\.0\\.1|\\[::1\\]|169\\.254\\.169\\.254|a\\.|evil-|xn--a\\.|%2e|)(amazonaws\\.com|amazonaws%2ecom|AMAZONAWS。com)?",
            rest in "(|:443|:0|/|/x|\\?|#|\\\\|;|\\.|\\.\\.|\\.evil\\.org|%00|\t|\n|@evil\\.org|:1@evil\\.org|/@evil\\.org)(|\\.amazonaws\\.com)",
        ) {
            let url = format!("{scheme}{slashes}{user}{host}{rest}");
            if let Ok(uri) = vendor().check(&url) {
                let host = uri.host().unwrap().trim_end_matches('.');
                prop_assert!(host == "amazonaws.com" || host.ends_with(".amazonaws.com"), "{} from {}", host, url);
                prop_assert!(matches!(uri.scheme_str(), Some("https" | "wss")), "{}", url);
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'), "{}", url);
                let again = Url::parse(&uri.to_string()).unwrap();
                prop_assert_eq!(again.host_str(), uri.host(), "{}", url);
            }
        }
    }
}
