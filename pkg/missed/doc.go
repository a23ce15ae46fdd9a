// Package missed finds running pods without the agent that a TidbCluster asks to
// inject: pods that were created before the annotation, or while the injector was
// away. Whether a pod would be injected now is decided by the same function as at
// its admission (package gather).
//
// It reports what it finds in three ways, and restarts nothing:
//
//   - the condition TidelayInjected of the TidbCluster: True if every pod that is
//     asked for has the agent; False with the reason "missed" if a pod would get
//     the agent when created again, or else with the reason that keeps a pod out,
//     such as "host_network"; Unknown while there is no pod;
//   - an Event on the TidbCluster when the first of its pods is found missed;
//   - the metric tidelay_missed_pods{namespace,tidbcluster}.
package missed
