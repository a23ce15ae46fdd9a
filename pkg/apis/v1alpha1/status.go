package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// NetworkFaultStatus is what came of a NetworkFault. It is written when something in it
// changes, and not as time passes.
type NetworkFaultStatus struct {
	Life `json:",inline"`

	// Selected are the pods that the selectors selected, at most 1024 of them. A pod that
	// was picked, such as a leader, stays selected by its name.
	// +optional
	// +kubebuilder:validation:MaxItems=1024
	// +listType=atomic
	Selected []SelectedPod `json:"selected,omitempty"`
}

// Life is what the status of a NetworkFault and that of a NetworkTopology have in common.
type Life struct {
	// Phase is where it is in its life.
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// Reason is why, in one word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message is why, in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// What is what happens to packets, in short: "+50ms RTT", "partition"; "three-az", "1ms
	// to 20ms RTT between 3 zones".
	// +optional
	What string `json:"what,omitempty"`
	// Applied is how many of the pods that are to have it have it: "4/4".
	// +optional
	Applied string `json:"applied,omitempty"`
	// Verified is how many of the pods that have it were measured to have what was asked for,
	// of those that can be measured: "4/4". Empty while nothing was measured.
	// +optional
	Verified string `json:"verified,omitempty"`
	// Pairs are the pairs of pods whose measurement was the furthest from what is asked for.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	Pairs []Pair `json:"pairs,omitempty"`
	// StartedAt is when it started.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// ClusterUID is the UID of the TidbCluster at that time. It ends with that.
	// +optional
	ClusterUID types.UID `json:"clusterUID,omitempty"`
	// ExpiresAt is when it ends by itself, or when it has ended; empty for one that lasts until
	// it is deleted.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// ObservedGeneration is the generation of the spec that all this is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions are Resolved, Safe, Applied and Verified.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Phase is where a fault or a topology is in its life.
type Phase string

// The phases of a life.
const (
	// Pending waits for something, such as a role that nobody knows yet.
	Pending Phase = "Pending"
	// Running is in force.
	Running Phase = "Running"
	// Paused is not in force because the spec says so.
	Paused Phase = "Paused"
	// Ended was in force, and will not be again.
	Ended Phase = "Ended"
	// Refused is not in force until the spec is changed.
	Refused Phase = "Refused"
)

// The conditions of a life.
const (
	// Resolved is whether the selectors select somebody, or the zones have pods.
	Resolved = "Resolved"
	// Safe is whether no rule of safety refuses it.
	Safe = "Safe"
	// Applied is whether every pod that is to have it has it.
	Applied = "Applied"
	// Verified is whether what was measured is what was asked for.
	Verified = "Verified"
)

// SelectedPod is a pod that a selector selected.
type SelectedPod struct {
	// Selector is the selector as it was understood.
	// +required
	Selector string `json:"selector"`
	// Pod is the pod's name.
	// +required
	Pod string `json:"pod"`
	// Zone is that of the pod's node, if that has one.
	// +optional
	Zone string `json:"zone,omitempty"`
}

// Values of Pair.Verdict.
const (
	PairRight = "Right"
	PairWrong = "Wrong"
)

// Pair is what was measured between two pods.
type Pair struct {
	// From is the pod that measured.
	// +required
	From string `json:"from"`
	// To is the pod that answered, or did not.
	// +required
	To string `json:"to"`
	// Verdict is whether what was measured is what is asked for, within what is allowed; empty
	// from a controller that does not say so.
	// +optional
	// +kubebuilder:validation:Enum=Right;Wrong
	Verdict string `json:"verdict,omitempty"`
	// Asked is what is added to the round trip by all faults and the topology together:
	// "50ms"; or "partition".
	// +required
	Asked string `json:"asked"`
	// Before is the round trip without it; empty if that is not known.
	// +optional
	Before string `json:"before,omitempty"`
	// Measured is the round trip; or "no answer".
	// +required
	Measured string `json:"measured"`
}
