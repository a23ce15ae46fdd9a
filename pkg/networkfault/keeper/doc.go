// Package keeper keeps the faults of every agent as they were decided.
//
// Set says what the agents of a TidbCluster are to hold. The keeper brings each agent
// its faults by one request, which replaces those of decide.Owner and no others, renews them
// every minute, at once after Doubt, and tries again where that fails. States says what came
// of it.
//
// Each fault has a life of at most five minutes at the agent. So when the controller is
// gone, every fault ends by itself.
//
// An agent that was told to hold nothing, and confirmed it, is left alone: whatever
// else it gets under the name of decide.Owner has a life too.
package keeper
