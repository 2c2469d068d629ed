// Kubeflow Pipelines 2.0.5, the newest version whose Go code the module proxy has: `make kfp-tools` builds its programs.
// What it brings along is fixed by its own go.mod, and each module is checked against Go's checksum database.
module arcface/kfp-tools

go 1.21

require github.com/kubeflow/pipelines v0.0.0-20231208180049-c5658f09ec38

// As in its own go.mod, since a replacement holds for the main module alone.
replace (
	k8s.io/kubernetes => k8s.io/kubernetes v1.11.1
	sigs.k8s.io/controller-tools => sigs.k8s.io/controller-tools v0.2.9
)
