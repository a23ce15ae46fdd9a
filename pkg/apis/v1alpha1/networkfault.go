package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// NetworkFault makes the network between pods of a TidbCluster slow, lossy or cut, for
// a while. It is in the namespace of the TidbCluster.
//
// Several faults of one TidbCluster add up: two round trips of 50ms more are 100ms
// more. A fault ends by itself after its duration, when it is deleted, and at the
// latest 5 minutes after Tidelay's controller has gone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=nf,categories=tidelay
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=tidelay","app.kubernetes.io/component=controller"}
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.from`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.to`
// +kubebuilder:printcolumn:name="What",type=string,JSONPath=`.status.what`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.applied`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.verified`
// +kubebuilder:printcolumn:name="Ends",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.phase) || oldSelf.status.phase != 'Ended' || self.spec == oldSelf.spec",fieldPath=".spec",message="this fault has ended and can't be changed: delete it and create it again"
type NetworkFault struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what is asked for.
	// +required
	Spec NetworkFaultSpec `json:"spec"`
	// Status is what came of it.
	// +optional
	Status NetworkFaultStatus `json:"status,omitempty"`
}

// NetworkFaultList is a list of NetworkFaults.
//
// +kubebuilder:object:root=true
type NetworkFaultList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NetworkFault `json:"items"`
}

// NetworkFaultSpec says which packets meet the fault, what happens to them, and for how
// long. Everything but cluster, from, to and seed can be changed while the fault runs.
// A change loses no packet of a pod whose agent has something to do before and after it.
//
// +kubebuilder:validation:XValidation:rule="self.cluster == oldSelf.cluster",message="cluster can't be changed: create another fault"
// +kubebuilder:validation:XValidation:rule="self.from == oldSelf.from",message="from can't be changed: create another fault"
// +kubebuilder:validation:XValidation:rule="self.to == oldSelf.to",message="to can't be changed: create another fault"
// +kubebuilder:validation:XValidation:rule="self.seed == oldSelf.seed",message="seed can't be changed: create another fault"
// +kubebuilder:validation:XValidation:rule="has(self.duration) != self.untilDeleted",message="want either duration, such as 10m, or untilDeleted: true"
// +kubebuilder:validation:XValidation:rule="!(has(self.rtt) && has(self.delay))",message="want rtt, which is of the round trip, or delay, which is each way, and not both"
// +kubebuilder:validation:XValidation:rule="!(self.oneWay && has(self.rtt))",message="with oneWay there is no round trip: want delay instead of rtt"
// +kubebuilder:validation:XValidation:rule="!self.partition || !(has(self.rtt) || has(self.delay) || has(self.jitter) || has(self.loss) || has(self.duplicate) || has(self.corrupt) || has(self.reorder) || has(self.rate))",message="a partition drops every packet: want it alone"
// +kubebuilder:validation:XValidation:rule="self.partition || has(self.rtt) || has(self.delay) || has(self.loss) || has(self.duplicate) || has(self.corrupt) || has(self.rate) || has(self.jitter) || has(self.reorder)",message="nothing is asked for: want at least one of rtt, delay, loss, duplicate, corrupt, rate and partition"
// +kubebuilder:validation:XValidation:rule="!has(self.jitter) || has(self.rtt) || has(self.delay)",message="jitter spreads a delay: want rtt or delay with it"
// +kubebuilder:validation:XValidation:rule="!has(self.reorder) || has(self.rtt) || has(self.delay)",message="packets overtake those that are delayed: want rtt or delay with reorder"
// +kubebuilder:validation:XValidation:rule="has(self.jitter) || !(has(self.distribution) || has(self.correlation))",message="distribution and correlation are those of the jitter: want jitter with them"
// +kubebuilder:validation:XValidation:rule="!has(self.ports) || !has(self.protocol) || self.protocol != 'icmp'",message="icmp has no ports: want tcp, udp or no protocol with ports"
type NetworkFaultSpec struct {
	// Cluster is the name of the TidbCluster, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="want the name of a TidbCluster in this namespace: lower-case letters, digits, - and ., such as basic"
	Cluster string `json:"cluster"`

	// From selects the pods on one side. A selector is COMPONENT[(PICK)][@ZONE]: "tikv",
	// "tikv(random)", "pd(leader)", "tidb(0)@zone-a"; or "all", "pod/NAME". The pods
	// of all selectors are meant.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	From []Selector `json:"from"`

	// To selects the other side, as From does, and also "others", which is every pod of
	// the cluster that is not on the From side, and ranges of addresses outside the
	// cluster: "cidr/10.0.0.0/8".
	// +optional
	// +kubebuilder:default={"others"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	To []Selector `json:"to,omitempty"`

	// RTT is added to the round trip of packets between both sides, half of it each way:
	// "50ms". From 1us to 600s.
	// +optional
	RTT Delay `json:"rtt,omitempty"`
	// Delay is added to every packet between both sides, each way: "25ms". From 1us to
	// 600s.
	// +optional
	Delay Delay `json:"delay,omitempty"`
	// OneWay says that only packets that the From side sends to the To side meet the
	// fault, and not those back. It is refused with rtt.
	// +optional
	// +kubebuilder:default=false
	OneWay bool `json:"oneWay,omitempty"`

	// Jitter spreads the delay: of the round trip with rtt, each way with delay. At most
	// that time, and at most 2s.
	// +optional
	Jitter Delay `json:"jitter,omitempty"`
	// Distribution of the jitter: "uniform" (the default) within delay±jitter; "normal",
	// "pareto" or "paretonormal" with the jitter as standard deviation.
	// +optional
	// +kubebuilder:validation:Enum=uniform;normal;pareto;paretonormal
	Distribution string `json:"distribution,omitempty"`
	// Correlation is how much a packet's jitter depends on that of the packet before, in
	// percent.
	// +optional
	Correlation *Percent `json:"correlation,omitempty"`

	// Loss drops some packets.
	// +optional
	Loss *Loss `json:"loss,omitempty"`
	// Duplicate sends some packets twice. Not on every kernel.
	// +optional
	Duplicate *Chance `json:"duplicate,omitempty"`
	// Corrupt flips one bit of some packets. Not on every kernel.
	// +optional
	Corrupt *Chance `json:"corrupt,omitempty"`
	// Reorder sends some packets without the delay, ahead of others.
	// +optional
	Reorder *Reorder `json:"reorder,omitempty"`
	// Rate limits the capacity of each pod's link to the other side.
	// +optional
	Rate *Rate `json:"rate,omitempty"`
	// Partition drops every packet.
	// +optional
	// +kubebuilder:default=false
	Partition bool `json:"partition,omitempty"`

	// Ports narrow the fault to connections to these ports of the To side: 2379 or
	// "20160-20180". A text that is no range is refused by the controller: a rule here
	// would cost more than the API server allows.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="type(self) != int || (self >= 1 && self <= 65535)",messageExpression="'want a port from 1 to 65535, or a range such as \"20160-20180\", and not ' + string(self)",message="want a port from 1 to 65535, or a range such as \"20160-20180\""
	// +listType=atomic
	Ports []intstr.IntOrString `json:"ports,omitempty"`
	// Protocol narrows the fault to "tcp", "udp" or "icmp" (which means ICMPv6 too).
	// +optional
	// +kubebuilder:validation:Enum=tcp;udp;icmp
	Protocol string `json:"protocol,omitempty"`

	// Seed decides which pods "random", "minority", "majority" and "half" take: the same
	// pods for the same seed.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	Seed int64 `json:"seed,omitempty"`

	// Duration is how long the fault lasts from when it starts: "90s", "10m", "1h30m".
	// From 1s to 720h. A change counts from the same start.
	// +optional
	Duration Duration `json:"duration,omitempty"`
	// UntilDeleted says that the fault lasts until it is deleted, instead of a duration.
	// +optional
	// +kubebuilder:default=false
	UntilDeleted bool `json:"untilDeleted,omitempty"`
	// Paused takes the fault out while it is true. Its time goes on.
	// +optional
	// +kubebuilder:default=false
	Paused bool `json:"paused,omitempty"`

	// Allow lists the rules of safety that this fault may break.
	// +optional
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	Allow []Allowance `json:"allow,omitempty"`
}

// Selector selects pods of a TidbCluster, or addresses outside it.
//
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.trim().size() > 0",message="a selector is empty: want a component such as tikv or pd(leader), all, others, pod/NAME or cidr/ADDRESS/BITS"
type Selector string

// Delay is a time with its unit, us, ms or s: "500us", "1.5ms", "90s". From 1us to 600s.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,9}([.][0-9]{1,6})?(us|ms|s)$') && duration(self) >= duration('1us') && duration(self) <= duration('600s')",message="want a time with the unit us, ms or s, such as 500us, 1.5ms or 2s, from 1us to 600s"
type Delay string

// Duration is how long a fault or a topology lasts, with units: "90s", "10m", "1h30m".
// From 1s to 720h.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,7}([.][0-9]{1,6})?h)?([0-9]{1,7}([.][0-9]{1,6})?m)?([0-9]{1,7}([.][0-9]{1,6})?s)?$') && self.size() > 0 && duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="want how long it lasts, such as 90s, 10m or 1h30m, from 1s to 720h"
type Duration string

// Percent is a number of percents, with at most four decimals.
//
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=100
type Percent float64

// Loss drops packets, by exactly one of percent, gilbertElliott and fourState.
//
// +kubebuilder:validation:XValidation:rule="(has(self.percent) ? 1 : 0) + (has(self.gilbertElliott) ? 1 : 0) + (has(self.fourState) ? 1 : 0) == 1",message="want exactly one of percent, gilbertElliott and fourState"
// +kubebuilder:validation:XValidation:rule="!has(self.correlation) || has(self.percent)",message="correlation is that of percent: want percent with it"
type Loss struct {
	// Percent of packets that are lost, above 0.
	// +optional
	// +kubebuilder:validation:ExclusiveMinimum=true
	Percent *Percent `json:"percent,omitempty"`
	// Correlation is how much a packet's chance depends on that of the packet before.
	// +optional
	Correlation *Percent `json:"correlation,omitempty"`
	// GilbertElliott loses packets in bursts.
	// +optional
	GilbertElliott *GilbertElliott `json:"gilbertElliott,omitempty"`
	// FourState loses packets in bursts and one by one.
	// +optional
	FourState *FourState `json:"fourState,omitempty"`
}

// GilbertElliott is a link that is in a good or a bad state.
type GilbertElliott struct {
	// ToBad is the chance to go from good to bad, at every packet.
	// +required
	ToBad Percent `json:"toBad"`
	// ToGood is the chance to go from bad to good, at every packet.
	// +required
	ToGood Percent `json:"toGood"`
	// LossInBad is the chance to lose a packet in the bad state.
	// +required
	LossInBad Percent `json:"lossInBad"`
	// LossInGood is the chance to lose a packet in the good state.
	// +optional
	LossInGood Percent `json:"lossInGood,omitempty"`
}

// FourState is a Markov chain: 1 good, 2 good within a burst, 3 lost within a burst, 4 a
// single loss. Pxy is the chance to go from state x to state y.
type FourState struct {
	// P13 is the chance that a burst begins.
	// +required
	P13 Percent `json:"p13"`
	// P31 is the chance that a burst ends.
	// +required
	P31 Percent `json:"p31"`
	// P32 is the chance that packets get through within a burst.
	// +optional
	P32 Percent `json:"p32,omitempty"`
	// P23 is the chance that packets are lost again within a burst.
	// +optional
	P23 Percent `json:"p23,omitempty"`
	// P14 is the chance of a single loss.
	// +optional
	P14 Percent `json:"p14,omitempty"`
}

// Chance is what happens to some packets.
type Chance struct {
	// Percent of packets that it happens to, above 0.
	// +required
	// +kubebuilder:validation:ExclusiveMinimum=true
	Percent Percent `json:"percent"`
	// Correlation is how much a packet's chance depends on that of the packet before.
	// +optional
	Correlation *Percent `json:"correlation,omitempty"`
}

// Reorder sends some packets without the delay.
type Reorder struct {
	// Percent of the packets that gap chooses; those are sent at once. Above 0.
	// +required
	// +kubebuilder:validation:ExclusiveMinimum=true
	Percent Percent `json:"percent"`
	// Correlation of these choices.
	// +optional
	Correlation *Percent `json:"correlation,omitempty"`
	// Gap chooses every gap-th packet.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Gap *int32 `json:"gap,omitempty"`
}

// Rate is a link's capacity.
type Rate struct {
	// PerSecond has the unit bit, kbit, mbit or gbit, all decimal: "800kbit", "10mbit",
	// "1.5gbit". From 8kbit to 100gbit.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]+([.][0-9]+)?(bit|kbit|mbit|gbit)$')",message="want a number with the unit bit, kbit, mbit or gbit, such as 800kbit, 10mbit or 1.5gbit, from 8kbit to 100gbit"
	PerSecond string `json:"perSecond"`
	// PacketOverhead is added to each packet's size, in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=-10000
	// +kubebuilder:validation:Maximum=10000
	PacketOverhead int32 `json:"packetOverhead,omitempty"`
	// CellSize is for links that send a packet in cells of so many bytes (ATM: 53).
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	CellSize int32 `json:"cellSize,omitempty"`
	// CellOverhead is added to each cell's size, in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=-10000
	// +kubebuilder:validation:Maximum=10000
	CellOverhead int32 `json:"cellOverhead,omitempty"`
}

// Allowance is a rule of safety that a fault or a topology may break.
//
// +kubebuilder:validation:Enum=QuorumLoss;Failover;LongDelay;UnhealthyStart;Upgrade;Partial
type Allowance string

// The rules of safety.
const (
	// QuorumLoss cuts or nearly cuts so many pods off each other that PD or regions of
	// TiKV may lose their majority.
	QuorumLoss Allowance = "QuorumLoss"
	// Failover lasts so long that TiDB Operator may replace pods, and delete what they
	// stored.
	Failover Allowance = "Failover"
	// LongDelay adds more than a second to a round trip.
	LongDelay Allowance = "LongDelay"
	// UnhealthyStart starts while the TidbCluster is not healthy.
	UnhealthyStart Allowance = "UnhealthyStart"
	// Upgrade starts while TiDB Operator upgrades or scales the TidbCluster.
	Upgrade Allowance = "Upgrade"
	// Partial starts although some of the selected pods can't have the fault.
	Partial Allowance = "Partial"
)
