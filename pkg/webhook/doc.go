// Package webhook serves the mutating webhook that adds the Tidelay agent to pods. It
// answers each admission with what package injection decides.
//
// # What opts a pod in
//
// A pod is a candidate if its controller owners lead to a TidbCluster (package
// resolve). Then these annotations decide:
//
//	TidbCluster  tidelay.io/inject: "true"          opts the cluster in; no other value does
//	TidbCluster  tidelay.io/components: "pd,tikv"   narrows it to these components
//	TidbCluster  tidelay.io/max-duration: "1h"      is the longest life of a fault
//	TidbCluster  tidelay.io/sidecar: "native"       makes the agent a native sidecar, see below
//	Pod          tidelay.io/inject: "false"         opts the pod out, as does any value but "true"
//
// An unknown name in tidelay.io/components never widens the selection. It is named in
// an admission warning and in an Event, with the accepted names.
//
// # What is added
//
// The container "tidelay-agent" is added as the last one, with two emptyDir volumes,
// the annotations tidelay.io/status (see [injection.Status]) and
// tidelay.io/admission, and the annotation kubectl.kubernetes.io/default-container if
// the pod has none. The patch has nothing but these additions, so fields of a newer
// Pod API survive.
//
// A native sidecar is the last init container instead, with restartPolicy Always and
// without a start-up probe. It needs TiDB Operator 1.6: an older operator could not
// update the pod's labels, so there the agent is a container, and a warning says why.
// kubelet starts the database only when the sidecar runs. So an image that can't be
// pulled keeps the database from starting; as a container it does not. Package
// imagewatch keeps such an image from further pods.
//
// # What the answer says
//
// Every admission has one [injection.Reason]. The same word is
//
//   - the label reason of the metric tidelay_admission_decisions_total; the label
//     component is empty if the pod's component is not known;
//   - the field reason of the log line;
//   - the audit annotation inject.tidelay.io/reason, with
//     inject.tidelay.io/cluster and inject.tidelay.io/component for members;
//   - the message of the admission response's status;
//   - the reason of the Event on the TidbCluster. The Event is Normal for an injected
//     pod, and Warning for a pod that was asked for and skipped, or for an annotation
//     that is not valid. A dry run sends no Event. The Event of an injected pod is
//     sent when the pod is there.
//
// The answer is always "allowed". failurePolicy: Ignore covers a webhook that can't be
// reached, and not one that answers with an error. So after a failed lookup, a passed
// deadline, a panic, or for a pod that can't be decoded, the answer is the unchanged
// pod and a reason.
//
// # Pods that are refused with the agent
//
// After the injector the API server asks others, and one of them may refuse the pod
// because of the agent: a policy, a quota, a LimitRange. So the same pod that is asked
// for a third time, and that the API server does not have, is admitted without the
// agent, with the reason "refused" and the annotation tidelay.io/not-injected:
//
//	ask  ─► injected ─► somebody refuses the pod
//	ask  ─► injected ─► somebody refuses the pod
//	ask  ─► is the pod there? no ─► refused ─► the pod is made without the agent
//
// A pod that is not made without the agent either is refused for something else. It is
// answered with the agent and without in turn then, until it is made, by whichever answer
// is next when the cause is gone.
//
// The other pods of its workload are refused at the first ask, for two minutes. Type
// refusals counts the asks, and identity says which pod is the same. Each answer
// that changes a pod is followed (Injector.Start): by what is found in the 15 seconds
// after it, the count begins anew or goes on. The annotation tidelay.io/admission ties
// a pod to its answer, also when the API server asks again in the same admission.
package webhook
