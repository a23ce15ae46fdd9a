// Package etcd runs a real consensus database under the agent's faults: three
// members of etcd, which PD is built on, with an agent beside each, and a client,
// in network namespaces.
//
//	client ─ bridge ┬ db-0: etcd, agent
//	                ├ db-1: etcd, agent
//	                └ db-2: etcd, agent
//
// All tests share the cluster. Each ends its faults, and then all members must
// agree, and hold every write that was acknowledged (begin).
//
// hack/kernel-test.sh runs it once for each engine.
package etcd
