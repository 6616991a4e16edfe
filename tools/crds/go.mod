// The modules whose custom resource definitions the manifests of deploy/k8s are validated against. `go mod download` fetches
// and checks them; nothing is built. `go mod tidy` would empty this file, because nothing imports them.
module fovea.dev/tools/crds

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
