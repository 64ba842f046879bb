//! The access logs: their formats, filters and files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use limen_ir::access_log::{AccessLog as Ir, AccessLogForm, AccessLogs, LogFilter, LogTarget as IrTarget};
use limen_ir::{Origin, Telemetry};
use serde_json::Value;

use super::problem;
use crate::Config;
use crate::applied::{ACCESS_LOG_FILE, ACCESS_LOG_FILTER, ACCESS_LOG_FORMAT, AppliedProblem};
use crate::observe::access_log::ISTIO_TEXT;
use crate::observe::{
    AccessLog, AccessLogConfig, Expression, JsonField, JsonTemplate, LogStats, LogTarget, LogWriter,
    Registry, Room,
};
use crate::table::logs::{Log, Logs, Outlet};

/// Characters of an expression that a problem shows.
const SHOWN: usize = 60;

/// Remembers which files are open.
pub(crate) struct LogMemo {
    pub(super) config: Arc<Config>,
    registry: Arc<Registry>,
    /// What the process was started with.
    own: Arc<AccessLog>,
    files: BTreeMap<String, File>,
}

struct File {
    writer: Weak<LogWriter>,
    /// Counts on when the file is opened again.
    stats: Arc<LogStats>,
}

impl LogMemo {
    /// `own` is what the process was started with.
    pub(crate) fn new(config: Arc<Config>, registry: Arc<Registry>, own: Arc<AccessLog>) -> LogMemo {
        LogMemo { config, registry, own, files: BTreeMap::new() }
    }

    /// Opens the files anew, after log rotation.
    pub(crate) fn reopen(&self) {
        self.files.values().filter_map(|file| file.writer.upgrade()).for_each(|writer| writer.reopen());
    }

    /// The logs of all gateways. A log that cannot be written as it is asked for is written as the process was
    /// started, and a filter that is not understood lets nothing pass, as in Envoy.
    pub(crate) fn compile(&mut self, ir: &[Arc<Telemetry>], problems: &mut Vec<AppliedProblem>) -> Logs {
        let (mut logs, mut rooms) = (Logs::default(), Rooms::new());
        for telemetry in ir {
            let Telemetry { access_logs, tracing: _ } = &**telemetry;
            let made = match access_logs {
                _ if self.own.is_off() => Vec::new(),
                AccessLogs::Process => vec![self.default_log()],
                AccessLogs::Off => Vec::new(),
                AccessLogs::Each(all) => {
                    let said = &mut Said { rooms: &mut rooms, problems };
                    all.iter().map(|log| self.log(log, &mut logs.outlets, said)).collect()
                }
            };
            logs.gateways.push(made.into());
        }
        if logs.gateways.is_empty() {
            logs.gateways.push(Box::new([self.default_log()]));
        }
        let mut all = logs.gateways.iter().flat_map(|logs| logs.iter());
        logs.wants_bodies = all.clone().any(|log| log.format.wants_bodies());
        logs.wants_trailers = all.any(|log| log.format.wants_trailers() || log.filter.is_some());
        logs
    }

    fn default_log(&self) -> Log {
        Log { format: Arc::clone(&self.own), filter: None, outlet: Outlet::OWN }
    }

    fn log(&mut self, ir: &Ir, outlets: &mut Vec<Arc<LogWriter>>, said: &mut Said<'_>) -> Log {
        let Ir { target, form, omit_empty, own, filter, origin } = ir;
        let overruled = !own && !self.config.access_log_by_mesh;
        let format = match form {
            AccessLogForm::Process => None,
            _ if overruled => None,
            form => self.format(form, *omit_empty, origin, said),
        };
        let outlet = match target {
            IrTarget::File(path) if *own || !self.config.access_log_placed => {
                self.outlet(path, origin, outlets, said.problems)
            }
            _ => Outlet::OWN,
        };
        let filter = filter.as_ref().map(|filter| self::filter(filter, said));
        Log { format: format.map_or_else(|| Arc::clone(&self.own), Arc::new), filter, outlet }
    }

    fn format(
        &self,
        form: &AccessLogForm,
        omit_empty: bool,
        origin: &Origin,
        Said { rooms, problems }: &mut Said<'_>,
    ) -> Option<AccessLog> {
        let json = |fields| AccessLogConfig::Json { fields, omit_empty };
        let config = match form {
            AccessLogForm::Process => return None,
            AccessLogForm::IstioText => AccessLogConfig::Text { format: ISTIO_TEXT.to_owned(), omit_empty },
            AccessLogForm::Text(format) => AccessLogConfig::Text { format: format.clone(), omit_empty },
            AccessLogForm::IstioJson => json(AccessLogConfig::istio_fields()),
            AccessLogForm::Json(written) => {
                json(fields(written).unwrap_or_else(AccessLogConfig::istio_fields))
            }
        };
        let compiled = AccessLog::compile_in(&config, &self.config.hostname, room(rooms, origin));
        let compiled = compiled.map_err(|error| {
            let mend = "write Envoy's command operators, such as %RESPONSE_CODE%";
            let message = format!("{error}; the process's own format is used");
            problems.push(problem(ACCESS_LOG_FORMAT, origin, message, mend));
        });
        compiled.ok()
    }

    /// The writer of a file, opened if it is new. A file that cannot be opened is none: lines go where the process
    /// was told to write them.
    fn outlet(
        &mut self,
        path: &str,
        origin: &Origin,
        outlets: &mut Vec<Arc<LogWriter>>,
        problems: &mut Vec<AppliedProblem>,
    ) -> Outlet {
        let known = self.files.get(path);
        let open = match known.and_then(|file| file.writer.upgrade()) {
            Some(writer) => Ok(writer),
            None => {
                let stats = known.map(|file| Arc::clone(&file.stats));
                LogWriter::start_counting(LogTarget::File(PathBuf::from(path)), stats).map(Arc::new)
            }
        };
        let writer = match open {
            Ok(writer) => writer,
            Err(error) => {
                let message =
                    format!("{path}: {error}; its lines go where the process was told to write its log");
                let mend = "its folder must exist and be writable";
                problems.push(problem(ACCESS_LOG_FILE, origin, message, mend));
                return Outlet::OWN;
            }
        };
        let place = self.files.entry(path.to_owned()).or_insert_with(|| {
            self.registry.watch_log(writer.stats());
            File { writer: Weak::new(), stats: writer.stats() }
        });
        place.writer = Arc::downgrade(&writer);
        let at = outlets.iter().position(|outlet| Arc::ptr_eq(outlet, &writer)).unwrap_or_else(|| {
            outlets.push(writer);
            outlets.len() - 1
        });
        Outlet(at + 1)
    }
}

/// What the expressions of each namespace have.
type Rooms = BTreeMap<Arc<str>, Room>;

fn room<'r>(rooms: &'r mut Rooms, origin: &Origin) -> &'r Room {
    rooms.entry(origin.namespace.clone()).or_default()
}

/// What compiling goes on with from log to log.
struct Said<'s> {
    rooms: &'s mut Rooms,
    problems: &'s mut Vec<AppliedProblem>,
}

fn filter(ir: &LogFilter, Said { rooms, problems }: &mut Said<'_>) -> Arc<Expression> {
    let LogFilter { expression, origin } = ir;
    Arc::new(Expression::compile(expression, room(rooms, origin)).unwrap_or_else(|why| {
        let shown = beginning(expression);
        let message = format!("{shown:?} is not understood: {why}; nothing is logged by it");
        problems.push(problem(ACCESS_LOG_FILTER, origin, message, "write such as response.code >= 400"));
        Expression::never()
    }))
}

/// What a problem shows of an expression: pages of it would hide what is wrong.
fn beginning(expression: &str) -> String {
    match expression.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &expression[..end]),
        None => expression.to_owned(),
    }
}

/// The members of an object.
fn fields(text: &str) -> Option<Vec<JsonField>> {
    match template(serde_json::from_str(text).ok()?) {
        JsonTemplate::Object(fields) => Some(fields),
        _ => None,
    }
}

fn template(value: Value) -> JsonTemplate {
    match value {
        Value::String(text) => JsonTemplate::Text(text),
        Value::Array(items) => JsonTemplate::List(items.into_iter().map(template).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            JsonTemplate::Object(
                members.map(|(key, value)| JsonField { key, value: template(value) }).collect(),
            )
        }
        scalar => JsonTemplate::Scalar(scalar.to_string()),
    }
}
