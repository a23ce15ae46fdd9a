package networkfault

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	expiring "k8s.io/apimachinery/pkg/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
)

const (
	// tokenLife is how long a token is used before its Secret is read again, which may
	// have changed, or which the controller may be allowed to read by then.
	tokenLife = 30 * time.Second
	// maxTokens is of how many namespaces tokens are remembered.
	maxTokens = 4096
)

// Tokens reads the agents' tokens.
type Tokens struct {
	secrets client.Reader
	config  func() injection.Config
	read    *expiring.LRUExpireCache // token or error by Secret
}

// NewTokens returns Tokens that reads Secrets live, by the name that the configuration
// gives them.
func NewTokens(secrets client.Reader, config func() injection.Config) *Tokens {
	return &Tokens{secrets: secrets, config: config, read: expiring.NewLRUExpireCache(maxTokens)}
}

// Of returns the token of the agents in a namespace; "" where the configuration names no
// Secret.
func (t *Tokens) Of(ctx context.Context, namespace string) (string, error) {
	name := t.config().TokenSecret
	if name == "" {
		return "", nil
	}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if known, ok := t.read.Get(key); ok {
		if err, isErr := known.(error); isErr {
			return "", err
		}
		return known.(string), nil
	}
	token, err := t.get(ctx, key)
	switch {
	case ctx.Err() != nil: // which says nothing about the Secret
	case err != nil:
		t.read.Add(key, err, tokenLife)
	default:
		t.read.Add(key, token, tokenLife)
	}
	return token, err
}

func (t *Tokens) get(ctx context.Context, key client.ObjectKey) (string, error) {
	var secret corev1.Secret
	if err := t.secrets.Get(ctx, key, &secret); err != nil {
		return "", fmt.Errorf("read Secret %s: %w", key, err)
	}
	token := strings.TrimSpace(string(secret.Data[injection.TokenKey]))
	if token == "" {
		return "", fmt.Errorf("read Secret %s: it has no key %q, or an empty one", key, injection.TokenKey)
	}
	return token, nil
}
