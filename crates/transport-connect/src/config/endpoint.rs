//! Owns which host serves which region: partitions, FIPS, dual stack, custom endpoints. Source: §2.1.

use chat_core::{Error, ErrorKind, Result};

/// One AWS partition: regions under a common DNS suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// As in resource names.
    pub(crate) id: &'static str,
    /// What its regions begin with.
    prefixes: &'static [&'static str],
    /// Of ordinary hosts.
    pub(crate) dns_suffix: &'static str,
    /// Of hosts that also have IPv6 addresses.
    pub(crate) dual_stack_dns_suffix: &'static str,
}

/// The partition of every region that no other one claims.
const AWS: Partition = Partition {
    id: "aws",
    prefixes: &["us-", "eu-", "ap-", "sa-", "ca-", "me-", "af-", "il-", "mx-"],
    dns_suffix: "amazonaws.com",
    dual_stack_dns_suffix: "api.aws",
};

/// More special prefixes first: `us-gov-` before `us-`.
const PARTITIONS: [Partition; 8] = [
    Partition {
        id: "aws-cn",
        prefixes: &["cn-"],
        dns_suffix: "amazonaws.com.cn",
        dual_stack_dns_suffix: "api.amazonwebservices.com.cn",
    },
    Partition {
        id: "aws-us-gov",
        prefixes: &["us-gov-"],
        dns_suffix: "amazonaws.com",
        dual_stack_dns_suffix: "api.aws",
    },
    Partition {
        id: "aws-iso",
        prefixes: &["us-iso-"],
        dns_suffix: "c2s.ic.gov",
        dual_stack_dns_suffix: "api.aws.ic.gov",
    },
    Partition {
        id: "aws-iso-b",
        prefixes: &["us-isob-"],
        dns_suffix: "sc2s.sgov.gov",
        dual_stack_dns_suffix: "api.aws.scloud",
    },
    Partition {
        id: "aws-iso-e",
        prefixes: &["eu-isoe-"],
        dns_suffix: "cloud.adc-e.uk",
        dual_stack_dns_suffix: "api.cloud-aws.adc-e.uk",
    },
    Partition {
        id: "aws-iso-f",
        prefixes: &["us-isof-"],
        dns_suffix: "csp.hci.ic.gov",
        dual_stack_dns_suffix: "api.aws.hci.ic.gov",
    },
    Partition {
        id: "aws-eusc",
        prefixes: &["eusc-"],
        dns_suffix: "amazonaws.eu",
        dual_stack_dns_suffix: "api.amazonwebservices.eu",
    },
    AWS,
];

impl Partition {
    /// The partition that `region` belongs to.
    ///
    /// # Errors
    /// `Config` if `region` cannot be part of a host name.
    pub(crate) fn of(region: &str) -> Result<Self> {
        let well_formed = !region.is_empty()
            && region.len() <= 63
            && !region.starts_with('-')
            && !region.ends_with('-')
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !well_formed {
            return Err(Error::new(ErrorKind::Config, format!("{region:?} is no region")));
        }
        Ok(PARTITIONS
            .into_iter()
            .find(|partition| partition.prefixes.iter().any(|prefix| region.starts_with(prefix)))
            .unwrap_or(AWS))
    }

    /// The Participant Service's base URL in `region`.
    pub(crate) fn participant_service(self, region: &str, fips: bool, dual_stack: bool) -> String {
        // In GovCloud the plain hosts are the FIPS ones.
        let plain_is_fips = self.id == "aws-us-gov" && !dual_stack;
        let service = if fips && !plain_is_fips { "connect-fips" } else { "connect" };
        let suffix = if dual_stack { self.dual_stack_dns_suffix } else { self.dns_suffix };
        format!("https://participant.{service}.{region}.{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(region: &str, fips: bool, dual_stack: bool) -> String {
        Partition::of(region).unwrap().participant_service(region, fips, dual_stack)
    }

    /// The vendor's own endpoint tests.
    #[test]
    fn hosts_are_those_of_the_rule_set() {
        for (region, fips, dual_stack, host) in [
            ("us-east-1", true, true, "participant.connect-fips.us-east-1.api.aws"),
            ("us-east-1", true, false, "participant.connect-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "participant.connect.us-east-1.api.aws"),
            ("us-east-1", false, false, "participant.connect.us-east-1.amazonaws.com"),
            ("cn-north-1", true, true, "participant.connect-fips.cn-north-1.api.amazonwebservices.com.cn"),
            ("cn-north-1", true, false, "participant.connect-fips.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, false, "participant.connect.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", false, false, "participant.connect.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "participant.connect.us-gov-west-1.amazonaws.com"),
            ("us-gov-east-1", true, true, "participant.connect-fips.us-gov-east-1.api.aws"),
            ("us-gov-east-1", false, true, "participant.connect.us-gov-east-1.api.aws"),
            ("us-iso-east-1", true, false, "participant.connect-fips.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, false, "participant.connect.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", false, false, "participant.connect.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", false, false, "participant.connect.us-isof-south-1.csp.hci.ic.gov"),
            ("eusc-de-east-1", false, false, "participant.connect.eusc-de-east-1.amazonaws.eu"),
            ("xx-new-1", false, false, "participant.connect.xx-new-1.amazonaws.com"),
        ] {
            assert_eq!(url(region, fips, dual_stack), format!("https://{host}"));
        }
    }

    #[test]
    fn what_cannot_be_a_region_is_refused() {
        for region in ["", "us east", "evil.org/", "-us", "US-EAST-1", "a@b"] {
            assert_eq!(Partition::of(region).unwrap_err().kind(), &ErrorKind::Config, "{region}");
        }
    }
}
