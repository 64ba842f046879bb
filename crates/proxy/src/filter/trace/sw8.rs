//! SkyWalking's header field, version 3: eight parts with hyphens between, texts in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Heard, Place};
use crate::observe::spans::SegmentParent;

pub(super) const NAME: &[u8] = b"sw8";

/// `sample-trace-segment-span-service-instance-endpoint-target`; `None`: it is not written so.
pub(super) fn read(value: &[u8]) -> Option<Heard> {
    let value = std::str::from_utf8(value).ok()?;
    let mut parts = value.split('-');
    let mut next = || parts.next();
    let sampled = match next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let text = |part: Option<&str>| String::from_utf8(STANDARD.decode(part?).ok()?).ok();
    let (trace, segment) = (text(next())?, text(next())?);
    let span = next()?.parse().ok()?;
    let (service, instance, endpoint, target) = (text(next())?, text(next())?, text(next())?, text(next())?);
    if next().is_some() || trace.is_empty() || segment.is_empty() {
        return None;
    }
    let parent = SegmentParent { trace, segment, span, service, instance, endpoint, target };
    Some(Heard { ids: None, sampled: Some(sampled), segment: Some(parent) })
}

pub(super) fn write(place: &Place<'_>, sampled: bool, target: &[u8]) -> String {
    let Place { segment, number, service, instance, endpoint } = place;
    let text = |text: &str| STANDARD.encode(text);
    format!(
        "{}-{}-{}-{number}-{}-{}-{}-{}",
        u8::from(sampled),
        text(&segment.trace),
        text(&segment.id),
        text(service),
        text(instance),
        text(endpoint),
        STANDARD.encode(target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::spans::Segment;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_nothing() {
        let segment = Segment { trace: "a-b".to_owned(), id: "c".to_owned(), parent: None };
        let place = Place { segment: &segment, number: 3, service: "edge", instance: "", endpoint: "/x*" };
        let value = write(&place, true, b"shop:80");
        assert_eq!(value, "1-YS1i-Yw==-3-ZWRnZQ==--L3gq-c2hvcDo4MA==");
        let heard = read(value.as_bytes()).unwrap();
        let parent = heard.segment.unwrap();
        assert_eq!((&*parent.trace, &*parent.segment, parent.span), ("a-b", "c", 3));
        assert_eq!((&*parent.endpoint, &*parent.target, heard.sampled), ("/x*", "shop:80", Some(true)));
        for wrong in [
            "",
            "1",
            "2-YQ==-Yg==-3-YQ==-YQ==-YQ==-YQ==",
            "1-YQ==-Yg==-x-YQ==-YQ==-YQ==-YQ==",
            "1-YQ==-Yg==-3-YQ==-YQ==-YQ==",
            "1-YQ==-Yg==-3-YQ==-YQ==-YQ==-YQ==-",
            "1--Yg==-3-YQ==-YQ==-YQ==-YQ==",
            "1-!-Yg==-3-YQ==-YQ==-YQ==-YQ==",
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
