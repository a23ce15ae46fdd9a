// Package compile turns faults of a whole TidbCluster into faults of single pods.
//
// An Object says what happens to packets between two sets of pods. Several objects may
// mean the same packets: their delays add, their losses are independent of each other,
// and a partition beats everything. An agent lets each packet meet one fault, the most
// precise. So Compile gives each pod a fault for every class of packets that meet the
// same objects.
//
// A packet from pod A to pod B is delayed where it leaves A. If A has no agent, it is
// delayed where it arrives at B. A partition is held at both ends, so that it lasts
// when one agent ends. What is added to a round trip is added in halves, one to each
// of its two ways.
//
// A topology is one more object: a packet between two pods meets the link from its
// sender's zone to its receiver's.
//
// The package is pure. The order of objects and of pods changes nothing.
package compile
