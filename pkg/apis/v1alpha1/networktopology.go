package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkTopology puts the pods of a TidbCluster into zones, and makes the network between
// zones as slow as between places that are far apart. It is in the namespace of the
// TidbCluster.
//
// It is the ground on which NetworkFaults add: a fault of 50ms between zones that are 20ms
// apart makes 70ms. One topology of a TidbCluster is in force at a time: the one that runs,
// else the oldest that has the zones it needs. Others wait and say so. A topology ends by
// itself after its duration, when it is deleted, and at the latest 5 minutes after Tidelay's
// controller has gone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=nt,path=networktopologies,categories=tidelay
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=tidelay","app.kubernetes.io/component=controller"}
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name="What",type=string,JSONPath=`.status.what`
// +kubebuilder:printcolumn:name="Zoned",type=string,JSONPath=`.status.zoned`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.applied`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.verified`
// +kubebuilder:printcolumn:name="Ends",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.phase) || oldSelf.status.phase != 'Ended' || self.spec == oldSelf.spec",fieldPath=".spec",message="this topology has ended and can't be changed: delete it and create it again"
type NetworkTopology struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what is asked for.
	// +required
	Spec NetworkTopologySpec `json:"spec"`
	// Status is what came of it.
	// +optional
	Status NetworkTopologyStatus `json:"status,omitempty"`
}

// NetworkTopologyList is a list of NetworkTopologies.
//
// +kubebuilder:object:root=true
type NetworkTopologyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NetworkTopology `json:"items"`
}

// NetworkTopologySpec says which zones there are, who is in them, what is between them, and
// for how long. Everything but cluster can be changed while the topology runs. A change loses
// no packet of a pod whose agent has something to do before and after it.
//
// +kubebuilder:validation:XValidation:rule="self.cluster == oldSelf.cluster",message="cluster can't be changed: create another topology"
// +kubebuilder:validation:XValidation:rule="has(self.duration) != self.untilDeleted",message="want either duration, such as 2h, or untilDeleted: true"
// +kubebuilder:validation:XValidation:rule="(has(self.zoneKey) ? 1 : 0) + (has(self.zones) ? 1 : 0) + (has(self.spread) ? 1 : 0) <= 1",message="want at most one of zoneKey (zones by a label of the nodes), zones (a list) and spread (dealt out)"
// +kubebuilder:validation:XValidation:rule="!has(self.profile) || !(has(self.links) || has(self.defaults))",message="a profile has its own links: want either profile, or links and defaults"
// +kubebuilder:validation:XValidation:rule="has(self.profile) || has(self.links) || has(self.defaults)",message="nothing is between the zones: want a profile such as three-az, or links, or defaults"
type NetworkTopologySpec struct {
	// Cluster is the name of the TidbCluster, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="want the name of a TidbCluster in this namespace: lower-case letters, digits, - and ., such as basic"
	Cluster string `json:"cluster"`

	// ZoneKey is the label of the pods' nodes whose value is the pods' zone, such as
	// "topology.kubernetes.io/region". It is topology.kubernetes.io/zone if zones and
	// spread are not given either. A pod on a node without the label is in no zone.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || (self.indexOf('/') <= 253 && self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",messageExpression="'want the key of a label of nodes, such as topology.kubernetes.io/zone or rack, and not \"' + self + '\"'",message="want the key of a label of nodes, such as topology.kubernetes.io/zone or rack"
	ZoneKey string `json:"zoneKey,omitempty"`
	// Zones lists 2 to 16 zones and who is in them, wherever the pods run. A pod that is
	// in none has nothing between it and others.
	// +optional
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Zones []Zone `json:"zones,omitempty"`
	// Spread deals the pods of each component out to so many zones, named a, b, c and so
	// on, by their number: pd-0 to a, pd-1 to b. From 2 to 16. A zone can be linked with 12
	// zones at most, its own included, since a pod takes a fault for each.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=16
	Spread int32 `json:"spread,omitempty"`

	// Profile has links by a name: "three-az", "two-region", "2-2-1" or "us-eu-ap". Its
	// zones are dealt to those of the TidbCluster in order of name.
	// +optional
	// +kubebuilder:validation:Enum=three-az;two-region;"2-2-1";us-eu-ap
	Profile string `json:"profile,omitempty"`
	// Links are what is between two zones, or within one: {between: [a, b], rtt: 20ms}. At
	// most one for the same two zones in the same order.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Links []Link `json:"links,omitempty"`
	// Defaults are for zones that no link is about; what is not given is 0ms.
	// +optional
	Defaults *LinkDefaults `json:"defaults,omitempty"`

	// StartAfter is what the topology waits for before it starts: "Ready", which is when PD
	// and the stores of the TidbCluster are healthy for the first time, so that it does not
	// delay their bootstrap; or "Created", which is at once. Then it is judged as a fault
	// is: on a TidbCluster that comes up it needs allow: [UnhealthyStart, Upgrade]. Once it
	// has started, this means nothing more.
	// +optional
	// +kubebuilder:default=Ready
	// +kubebuilder:validation:Enum=Ready;Created
	StartAfter StartAfter `json:"startAfter,omitempty"`

	// Duration is how long the topology lasts from when it starts: "90s", "10m", "1h30m".
	// From 1s to 720h. A change counts from the same start.
	// +optional
	Duration Duration `json:"duration,omitempty"`
	// UntilDeleted says that the topology lasts until it is deleted, instead of a duration.
	// +optional
	// +kubebuilder:default=false
	UntilDeleted bool `json:"untilDeleted,omitempty"`
	// Paused takes the topology out while it is true. Its time goes on.
	// +optional
	// +kubebuilder:default=false
	Paused bool `json:"paused,omitempty"`

	// Allow lists the rules of safety that this topology may break.
	// +optional
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	Allow []Allowance `json:"allow,omitempty"`
}

// Zone is a zone and who is in it.
type Zone struct {
	// Name is the zone's name, as links have it.
	// +required
	Name ZoneName `json:"name"`
	// Members select its pods, as the selectors of a NetworkFault do: "tikv(0)", "pd",
	// "pod/NAME". A pod is in one zone at most. Roles and random picks, "others", zones of
	// nodes and ranges of addresses are refused.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Members []Selector `json:"members"`
}

// ZoneName is the name of a zone: letters and digits, and between them also -, _ and ., as
// the value of a label has them. At most 63.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",messageExpression="'want the name of a zone: letters and digits, and between them also -, _ and ., such as us-east-1a, and not \"' + self + '\"'",message="want the name of a zone: letters and digits, and between them also -, _ and ., such as us-east-1a"
type ZoneName string

// Link is what is between two zones, or within one.
//
// +kubebuilder:validation:XValidation:rule="!has(self.jitter) || !self.rtt.matches('^0+([.]0+)?(us|ms|s)$')",message="jitter spreads a delay: want rtt above 0 with it"
type Link struct {
	// Between names the two zones; the same name twice is for pods of one zone. A link of
	// [a, b] is for both ways, unless there is one of [b, a] too: then each of them is for
	// packets from its first zone to its second, which take half of its own rtt and jitter.
	// +required
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=2
	// +listType=atomic
	Between []ZoneName `json:"between"`
	// RTT is added to the round trip, half of it each way: "20ms". From 1us to 600s; or
	// "0ms" for nothing, whatever the defaults say.
	// +required
	RTT RoundTrip `json:"rtt"`
	// Jitter spreads the RTT, half of it each way: "2ms". At most as long as the RTT, and
	// at most 2s.
	// +optional
	Jitter Delay `json:"jitter,omitempty"`
	// Loss drops some packets, each way: with a percent of 1 about 2 of 100 pings fail.
	// +optional
	Loss *Loss `json:"loss,omitempty"`
	// Rate limits the capacity of each pod's link to all pods of the other zone, each way.
	// +optional
	Rate *Rate `json:"rate,omitempty"`
}

// LinkDefaults are RTTs between zones that no link is about.
//
// +kubebuilder:validation:XValidation:rule="has(self.sameZone) || has(self.otherZone)",message="no default is given: want sameZone, such as 0.5ms, or otherZone, such as 2ms, or both"
type LinkDefaults struct {
	// SameZone is added to round trips within a zone: "0.5ms". From 1us to 600s, or "0ms".
	// +optional
	SameZone RoundTrip `json:"sameZone,omitempty"`
	// OtherZone is added to round trips between zones: "2ms". From 1us to 600s, or "0ms".
	// +optional
	OtherZone RoundTrip `json:"otherZone,omitempty"`
}

// RoundTrip is a time that is added to a round trip, with its unit, us, ms or s: "20ms",
// "1.5ms". From 1us to 600s; or "0ms" for nothing.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,9}([.][0-9]{1,6})?(us|ms|s)$') && duration(self) <= duration('600s') && (duration(self) >= duration('1us') || self.matches('^0+([.]0+)?(us|ms|s)$'))",messageExpression="'want a time with the unit us, ms or s, such as 500us or 20ms, from 1us to 600s, or 0ms for none, and not \"' + self + '\"'",message="want a time with the unit us, ms or s, such as 500us or 20ms, from 1us to 600s, or 0ms for none"
type RoundTrip string

// StartAfter is what a topology waits for before it starts.
type StartAfter string

// What a topology can wait for.
const (
	// StartAfterReady waits until PD and the stores are healthy for the first time.
	StartAfterReady StartAfter = "Ready"
	// StartAfterCreated waits for nothing.
	StartAfterCreated StartAfter = "Created"
)

// NetworkTopologyStatus is what came of a NetworkTopology. It is written when something in
// it changes, and not as time passes.
type NetworkTopologyStatus struct {
	Life `json:",inline"`

	// Zoned is how many of the pods are in a zone: "8/9".
	// +optional
	Zoned string `json:"zoned,omitempty"`
	// Zones are the zones and their pods.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Zones []ZonePods `json:"zones,omitempty"`
	// Unzoned are pods that are in no zone, such as those on nodes without the label, at
	// most 64 of them.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Unzoned []string `json:"unzoned,omitempty"`
}

// ZonePods is a zone and the pods in it.
type ZonePods struct {
	// Name is the zone's name.
	// +required
	Name string `json:"name"`
	// Pods are the names of its pods, at most 256 of them.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Pods []string `json:"pods,omitempty"`
}
