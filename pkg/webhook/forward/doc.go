// Package forward has a replica of the injector pass admissions on to a newer one
// during a rollout, so that no pod gets old settings after it.
//
// Settings such as --agent-image are flags of the Deployment, which an old replica
// cannot know. kubectl calls a rollout finished as soon as the last old pod is being
// deleted. At that moment the old replica has not heard of it, and API servers go on
// using their open connections to it for as long as it drains. Closing these
// connections would make an admission that is under way fail.
//
// So a replica passes each admission on to a ready replica of the newest revision, if
// that is newer than its own. A new pod is ready for some seconds (minReadySeconds)
// before an old one is deleted for it. That is how far the cache, from which a replica
// knows the others, may trail the API server. No admission waits for a read.
//
// If the other replica does not answer in three quarters of the time, the replica
// answers by its own settings: a pod with old settings is better than one that was
// missed. An admission is passed on twice at most, so that two replicas that disagree
// about which of them is newer, as they can for a moment during a rollback, don't send
// it to and fro.
package forward
