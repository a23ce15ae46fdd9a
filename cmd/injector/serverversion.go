package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	apiversion "k8s.io/apimachinery/pkg/version"
)

// How often the API server is asked for its version: until it is known, and
// then in case it is upgraded.
const (
	versionRetry   = 2 * time.Second
	versionRefresh = 10 * time.Minute
)

// versioner tells the API server's version; see discovery.DiscoveryClient.
type versioner interface {
	ServerVersion() (*apiversion.Info, error)
}

// serverVersion follows the API server's version.
type serverVersion struct {
	server  versioner
	log     logr.Logger
	current atomic.Pointer[utilversion.Version]
}

// Current returns the version, nil while it is not known.
func (s *serverVersion) Current() *utilversion.Version { return s.current.Load() }

// Ready returns an error while the version is not known.
func (s *serverVersion) Ready(*http.Request) error {
	if s.Current() == nil {
		return errors.New("the API server has not told its version")
	}
	return nil
}

// Start follows the version until ctx ends.
func (s *serverVersion) Start(ctx context.Context) error {
	for {
		next := versionRefresh
		if err := s.look(); err != nil {
			next = versionRetry
			s.log.Error(err, "API server's version not read")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// NeedLeaderElection is false: every replica decides about pods.
func (s *serverVersion) NeedLeaderElection() bool { return false }

func (s *serverVersion) look() error {
	info, err := s.server.ServerVersion()
	if err != nil {
		return err
	}
	// Vendors append their own build, which is no pre-release.
	v, err := utilversion.ParseGeneric(info.GitVersion)
	if err != nil {
		return err
	}
	s.current.Store(v)
	return nil
}
