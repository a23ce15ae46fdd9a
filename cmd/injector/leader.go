package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The terms of the Lease, as controllers usually have them.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// leader runs something in one replica at a time. A replica that loses the lead
// stands again. The manager's own election would end the process instead, and
// the webhook with it, whenever the API server is slow to answer.
type leader struct {
	lock resourcelock.Interface
	run  func(context.Context)
	// running is held by run, which may still be ending when the lead is won
	// again.
	running sync.Mutex
}

// newLeader returns a leader by the Lease called lease.
func newLeader(config *rest.Config, lease types.NamespacedName, run func(context.Context)) (*leader, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	identity := fmt.Sprintf("%s-%d", host, os.Getpid())
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, lease.Namespace, lease.Name,
		resourcelock.ResourceLockConfig{Identity: identity}, config, renewDeadline)
	if err != nil {
		return nil, fmt.Errorf("create lock %s: %w", lease, err)
	}
	return &leader{lock: lock, run: run}, nil
}

// Start stands for election until ctx ends.
func (l *leader) Start(ctx context.Context) error {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l.lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks:       leaderelection.LeaderCallbacks{OnStartedLeading: l.lead, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return fmt.Errorf("create elector: %w", err)
	}
	wait.UntilWithContext(ctx, elector.Run, retryPeriod)
	return nil
}

func (l *leader) lead(ctx context.Context) {
	l.running.Lock()
	defer l.running.Unlock()
	l.run(ctx)
}

// NeedLeaderElection is false: it is the election.
func (l *leader) NeedLeaderElection() bool { return false }
