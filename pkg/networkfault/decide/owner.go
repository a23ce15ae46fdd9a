package decide

import "time"

// Owner is the owner, at the agents, of the faults that are decided here.
const Owner = "tidelay-controller"

// Lease is the longest life that an agent is given for one of them. It is renewed, so that a
// fault ends that much after the controller at the latest.
const Lease = 5 * time.Minute
