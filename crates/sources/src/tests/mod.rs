//! What the files do, and what follows: once with the clock in our hand, once through the real watcher.

mod look;
mod watched;

/// A Service, the simplest object there is.
fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ ports: [{{ port: 80 }}] }}\n---\n"
    )
}

/// A VirtualService whose timeout is `timeout`.
fn virtual_service(name: &str, timeout: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name} }}\nspec:\n  hosts: [a.example]\n  \
         http: [{{ timeout: {timeout}, route: [{{ destination: {{ host: a }} }}] }}]\n---\n"
    )
}
