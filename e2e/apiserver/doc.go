// Package apiserver holds the API-server tier of the tests. It starts a real
// etcd and kube-apiserver, installs the shipped manifests with the command the
// README gives, runs the built injector as the shipped ServiceAccount, and
// then talks to nothing but the API server, the injector's HTTP ports and its
// process.
//
// No controller runs here: the tests create the TidbCluster, StatefulSet and
// pod that TiDB Operator and the StatefulSet controller would, with the UIDs
// the API server gave out.
//
//	KUBEBUILDER_ASSETS=DIR go test -tags apiserver -count=1 ./e2e/apiserver/
//
// DIR holds etcd, kube-apiserver and kubectl; hack/kube-assets.sh builds them
// and prints it.
package apiserver
