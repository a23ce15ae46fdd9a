// Package webhook decides, for each pod the API server is about to create,
// whether it gets the Tidelay agent, and writes the patch that adds it.
//
// # What opts a pod in
//
// A pod is a candidate when its controller owners lead to a TidbCluster
// (package tidbcluster). Then five annotations speak:
//
//	TidbCluster  tidelay.io/inject: "true"          opts the cluster in; no other value does
//	TidbCluster  tidelay.io/components: "pd,tikv"   narrows it to these components
//	TidbCluster  tidelay.io/max-duration: "1h"      is how long a fault lasts at most
//	TidbCluster  tidelay.io/sidecar: "native"       makes the agent a native sidecar, see below
//	Pod          tidelay.io/inject: "false"         opts the pod out, as does any value but "true"
//
// An unknown name in tidelay.io/components never widens the selection: it is
// named in an admission warning and an Event, together with the accepted ones.
//
// # What is added
//
// The container "tidelay-agent" is appended last, with two emptyDir volumes,
// the annotation tidelay.io/status (JSON, see [Status]), and
// kubectl.kubernetes.io/default-container when the pod has none. The patch
// holds nothing but these additions, so fields of a newer Pod API survive.
//
// A native sidecar is the last init container instead, with restartPolicy
// Always and without a start-up probe. It takes TiDB Operator 1.6, before which
// the operator could not update the pod's labels: with an older one the agent is
// a container, and a warning says why. kubelet starts the database only once
// the sidecar runs, so that an image that cannot be pulled keeps it waiting,
// which a container does not.
//
// # What comes back
//
// Every admission ends in one [Reason]. The same word is
//
//   - the label reason of the metric tidelay_admission_decisions_total, beside
//     component, which is empty when the pod's component is not known;
//   - the field reason of the log line;
//   - the audit annotation inject.tidelay.io/reason, beside
//     inject.tidelay.io/cluster and inject.tidelay.io/component for members;
//   - the message of the admission response's status;
//   - the reason of the Event on the TidbCluster: Normal for injected, Warning
//     for a pod that was asked for and is skipped or for an annotation that
//     makes no sense. A dry run emits none.
//
// The answer is always "allowed". failurePolicy: Ignore covers only a webhook
// that cannot be reached, not one that answers with an error, so a failed
// lookup, a passed deadline, a panic and a pod that cannot be decoded are all
// answered with the pod unchanged and a reason.
//
// # The process
//
// cmd/injector serves the webhook at [Path] over TLS on --webhook-port (9443),
// /healthz and /readyz on --health-addr (:8081) and /metrics on --metrics-addr
// (:8080). It is ready when it listens, its informers have synced, it holds a
// serving certificate, and the certificate's CA is in the
// MutatingWebhookConfiguration.
//
//	--agent-image=              image of the agent where --config names none; required
//	--config=                   file that says how to inject; see package configfile
//	--webhook-port=9443
//	--health-addr=:8081
//	--metrics-addr=:8080
//	--namespace=$POD_NAMESPACE  where the injector runs and keeps its CA
//	--webhook-name=tidelay-injector  MutatingWebhookConfiguration; the CA's Secret is this name with "-ca"
//	--service-name=tidelay-injector  Service in front of it; its names are in the certificate
//	--drain=10s                 how long to keep serving after SIGTERM
//	--missed-check=30s          how often to look for running pods that were missed; see package missed
//	--kubeconfig=               empty means in-cluster
//	--log-level=info            info or debug
//	--log-format=text           text or json
//	--version
//
// Metrics beside controller-runtime's own:
//
//	tidelay_admission_decisions_total{reason,component}
//	tidelay_admission_duration_seconds
//	tidelay_live_reads_total{kind,result}   result is found, not_found or error
//	tidelay_missed_pods{namespace,tidbcluster}   of the replica that leads
//	tidelay_config_last_reload_successful   1, or 0 while the file makes no sense
//	tidelay_config_last_reload_success_timestamp_seconds
package webhook
