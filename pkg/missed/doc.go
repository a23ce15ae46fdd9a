// Package missed checks whether the pods of TidbClusters that ask for the agent have
// it, whether it runs and answers, and whether a pod that is created now would get it. Whether a pod
// would be injected is decided by the same function as at its admission (package
// gather), and whether the API server would ask the injector at all by webhook.obstacle.
//
// It reports what it finds in three ways, and restarts nothing:
//
//   - the condition TidelayInjected of the TidbCluster: True if every pod that is
//     asked for has an agent that runs, and a pod that is created now would get one;
//     False with the reason that a person should see to first; Unknown while there is
//     no pod, or when nothing could be checked several times in a row;
//   - an Event on the TidbCluster when the first of its pods is found missed, and when
//     the first agent is found that does not run;
//   - metrics for each TidbCluster, and the time of the last check that worked.
//
// Of a pod that was made without the agent, because the API server refuses it with one,
// the condition has the reason "refused" and what refuses it.
//
// A pod is called missed only if it would get the agent when created again. It may have
// been created before the annotation, or while the injector was away.
package missed
