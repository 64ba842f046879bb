//! Match blocks.

use limen_ir::atoms::Pattern;
use limen_ir::matcher::{HeaderMatch, Match, PathMatch, QueryMatch, TextMatch};
use limen_resources::Problem;
use limen_resources::istio::{HttpMatch, StringMatch};
use regex_automata::nfa::thompson;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use crate::messages::{At, route};

/// The conditions on requests of a match block; `None`, with the reasons in `problems`, if it can never hold.
pub(crate) fn conditions(
    block: &HttpMatch,
    at: At<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<Match> {
    let mut reader = Reader { at, field, problems, refused: false };
    let matches = Match {
        path: reader.path(block),
        method: reader.text("method", block.method.as_ref()).map(Box::new),
        scheme: reader.text("scheme", block.scheme.as_ref()).map(Box::new),
        authority: reader.text("authority", block.authority.as_ref()).map(Box::new),
        headers: reader.headers(block),
        query: reader.query(block),
    };
    (!reader.refused).then_some(matches)
}

/// Does every request that gets this far match, in Istio's reckoning (which does not look at method and authority apart)?
pub(crate) fn is_catch_all(matches: &Match) -> bool {
    let every_path = match &matches.path {
        PathMatch::Prefix { prefix, .. } => prefix == "/",
        PathMatch::Regex(pattern) => pattern.source() == ".*",
        PathMatch::Segments(segments) => segments.is_empty(),
        PathMatch::Exact { .. } => false,
    };
    let Match { path: _, method, scheme, authority, headers, query } = matches;
    let nothing_else = method.is_none() && scheme.is_none() && authority.is_none();
    every_path && nothing_else && headers.is_empty() && query.is_empty()
}

struct Reader<'a> {
    at: At<'a>,
    field: &'a str,
    problems: &'a mut Vec<Problem>,
    refused: bool,
}

impl Reader<'_> {
    fn path(&mut self, block: &HttpMatch) -> PathMatch {
        let ignore_case = block.ignore_uri_case;
        match &block.uri {
            None | Some(StringMatch::Present) => {
                PathMatch::Prefix { prefix: "/".to_owned(), ignore_case: false }
            }
            Some(StringMatch::Exact(path)) => PathMatch::Exact { path: path.clone(), ignore_case },
            Some(StringMatch::Prefix(prefix)) => PathMatch::Prefix { prefix: prefix.clone(), ignore_case },
            Some(StringMatch::Regex(source)) => PathMatch::Regex(self.pattern(source, "uri.regex")),
        }
    }

    /// `None`: that there is such a text, which is all that an empty prefix asks.
    fn text(&mut self, part: &str, asked: Option<&StringMatch>) -> Option<TextMatch> {
        match asked? {
            StringMatch::Present => None,
            StringMatch::Prefix(prefix) if prefix.is_empty() => None,
            // Istio's generator takes a lone star for presence.
            StringMatch::Regex(source) if source == "*" => None,
            StringMatch::Exact(text) => Some(TextMatch::Exact(text.clone())),
            StringMatch::Prefix(prefix) => Some(TextMatch::Prefix(prefix.clone())),
            StringMatch::Regex(source) => {
                Some(TextMatch::Regex(self.pattern(source, &format!("{part}.regex"))))
            }
        }
    }

    fn headers(&mut self, block: &HttpMatch) -> Vec<HeaderMatch> {
        let mut headers = Vec::new();
        for (part, invert, asked) in
            [("headers", false, &block.headers), ("withoutHeaders", true, &block.without_headers)]
        {
            for (name, value) in asked {
                if name.starts_with("@request.auth.") {
                    let field = format!("{}.{part}", self.field);
                    let message = format!(
                        "the rule never matches, as claims of JSON web tokens (`{name}`) are not read yet"
                    );
                    self.refuse(&field, |at| route::not_served(at, &message, "match something else"));
                }
                let value = self.text(&format!("{part}.{name}"), Some(value));
                headers.push(HeaderMatch { name: name.to_ascii_lowercase(), value, invert });
            }
        }
        headers
    }

    fn query(&mut self, block: &HttpMatch) -> Vec<QueryMatch> {
        let asked = block.query_params.iter();
        asked
            .map(|(name, value)| QueryMatch {
                name: name.clone(),
                value: self.text(&format!("queryParams.{name}"), Some(value)),
            })
            .collect()
    }

    fn pattern(&mut self, source: &str, part: &str) -> Pattern {
        pattern(source).unwrap_or_else(|error| {
            let field = format!("{}.{part}", self.field);
            self.refuse(&field, |at| route::regex(at, &error));
            Pattern::checked(source.to_owned())
        })
    }

    fn refuse(&mut self, field: &str, say: impl FnOnce(At<'_>) -> Problem) {
        self.refused = true;
        let problem = say(self.at.field(field));
        self.problems.push(problem);
    }
}

/// The longest expression that Istio takes.
const MAX_REGEX: usize = 1024;
/// What a compiled expression may take.
const MAX_COMPILED: usize = 1 << 20;

/// An expression as the data plane takes it, or what is wrong with it.
pub(crate) fn pattern(source: &str) -> Result<Pattern, String> {
    pattern_with_groups(source).map(|(pattern, _)| pattern)
}

/// The same with the number of its groups.
pub(crate) fn pattern_with_groups(source: &str) -> Result<(Pattern, usize), String> {
    check_regex(source).map(|groups| (Pattern::checked(source.to_owned()), groups))
}

/// Would the data plane take this expression? It is parsed as it is there: by RE2's rules, where classes such as `\d`
/// know ASCII only, or in Unicode mode if only that can say it. Returns the
/// number of its groups.
fn check_regex(source: &str) -> Result<usize, String> {
    if source.len() > MAX_REGEX {
        return Err(format!("it has {} characters, and {MAX_REGEX} are allowed", source.len()));
    }
    let parse =
        |unicode| ParserBuilder::new().unicode(unicode).utf8(false).build().parse(source).map_err(one_line);
    let hir: Hir = parse(false).or_else(|_| parse(true))?;
    let config = thompson::Config::new().nfa_size_limit(Some(MAX_COMPILED)).utf8(false);
    match thompson::Compiler::new().configure(config).build_from_hir(&hir) {
        Ok(_) => Ok(hir.properties().explicit_captures_len()),
        Err(error) if error.size_limit().is_some() => Err("it grows too large".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What is wrong, without the drawing of the place.
fn one_line(error: regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string().lines().last().unwrap_or_default().to_owned(),
    }
}
