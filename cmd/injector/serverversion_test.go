package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apiversion "k8s.io/apimachinery/pkg/version"
)

// server says which version it is, if it is not down.
type server struct{ version atomic.Value }

func (s *server) ServerVersion() (*apiversion.Info, error) {
	version := s.version.Load().(string)
	if version == "" {
		return nil, errors.New("the API server does not answer")
	}
	return &apiversion.Info{GitVersion: version}, nil
}

func TestServerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{}
		api.version.Store("")
		s := &serverVersion{server: api, log: logr.Discard()}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Start(ctx) }()

		steps := []struct{ says, want string }{
			{"", ""},
			{"no version", ""},
			{"v1.29.0-eks-5e0fdde", "1.29.0"},
			{"", "1.29.0"},
			{"v1.30.2+k3s1", "1.30.2"},
		}
		for _, step := range steps {
			api.version.Store(step.says)
			time.Sleep(versionRefresh + time.Minute)
			synctest.Wait()
			got := ""
			if v := s.Current(); v != nil {
				got = v.String()
			}
			if got != step.want {
				t.Errorf("server says %q: version %q, want %q", step.says, got, step.want)
			}
		}
	})
}
