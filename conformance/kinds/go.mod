// Kinds whose definitions a cluster is given: the folders of these modules are read, no package of them is built.
module limen.dev/conformance/kinds

go 1.26.0

require istio.io/api v1.31.1
