// Package kernel proves the agent by its effect: the built binary as a process
// in a network namespace, driven over HTTP, measured by ping and TCP from other
// namespaces. hack/kernel-test.sh runs it once for each engine.
package kernel
