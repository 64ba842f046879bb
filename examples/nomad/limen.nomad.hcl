# One gateway on every client of the datacenter. Its routes are written here, its backends come from Consul.
job "limen" {
  datacenters = ["dc1"]
  type        = "system"

  group "gateway" {
    network {
      mode = "host"
      port "http" { static = 80 }
      port "readiness" { static = 15021 }
    }

    service {
      name = "limen"
      port = "http"
      check {
        type     = "http"
        port     = "readiness"
        path     = "/healthz/ready"
        interval = "5s"
        timeout  = "1s"
      }
    }

    task "limen" {
      driver       = "exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "40s" # longer than --drain

      config {
        command = "/usr/local/bin/limen"
        args    = ["run", "${NOMAD_TASK_DIR}/config", "--strict-ports", "--drain", "30s"]
        cap_add = ["net_bind_service"]
      }

      # Routes: as anywhere else.
      template {
        destination = "local/config/shop.yaml"
        change_mode = "noop" # the gateway watches the folder
        data        = <<ROUTES
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: shop
spec:
  servers:
    - port:
        number: 80
        name: http
        protocol: HTTP
      hosts:
        - shop.example.com
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: shop
spec:
  hosts:
    - shop.example.com
  gateways:
    - shop
  http:
    - route:
        - destination:
            host: shop.service.consul
ROUTES
      }

      # Backends: rendered anew whenever Consul knows of a change, and live at once.
      template {
        destination = "local/config/backends.yaml"
        change_mode = "noop"
        data        = <<BACKENDS
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: shop
spec:
  hosts:
    - shop.service.consul
  resolution: STATIC
  ports:
    - number: 80
      name: http
      protocol: HTTP
  endpoints:
{{- range service "shop" }}
    - address: {{ .Address }}
      ports:
        http: {{ .Port }}
{{- end }}
BACKENDS
      }

      resources {
        cpu    = 500
        memory = 128
      }
    }
  }
}
