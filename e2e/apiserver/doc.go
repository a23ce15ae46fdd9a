// Package apiserver holds the API-server tier of the tests. It starts a real
// etcd and kube-apiserver, installs the shipped manifests with the command that the
// README gives, and runs the built injector and controller as their shipped
// ServiceAccounts. Then it talks to nothing but the API server, the two programs' HTTP
// ports and their processes.
//
// No controller of Kubernetes or of TiDB Operator runs here: the tests create the TidbCluster, StatefulSet and
// pod that TiDB Operator and the StatefulSet controller would, with the UIDs
// the API server gave out.
//
//	KUBEBUILDER_ASSETS=DIR go test -tags apiserver -count=1 ./e2e/apiserver/
//
// DIR holds etcd, kube-apiserver and kubectl; hack/kube-assets.sh builds them
// and prints it.
package apiserver
