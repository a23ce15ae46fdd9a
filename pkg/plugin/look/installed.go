package look

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Installed is what of Tidelay is installed in a Kubernetes cluster.
type Installed struct {
	// Controller and Injector are the tags of their images.
	Controller, Injector Known
	// NetworkFaults and NetworkTopologies are "installed" if the API server knows the kind.
	NetworkFaults, NetworkTopologies Known
}

// Known is something that is known, or why it is not.
type Known struct {
	Value string
	// Unknown is why there is no value.
	Unknown string
}

// String returns the value, or why there is none.
func (k Known) String() string {
	if k.Value == "" {
		return k.Unknown
	}
	return k.Value
}

// ReadInstalled reads what of Tidelay is installed in the namespace system. Its kinds are asked
// for in the namespace of the person. The error is that the API server can't be asked.
func ReadInstalled(ctx context.Context, reader client.Reader, system, namespace string) (*Installed, error) {
	var i Installed
	group, ctx := errgroup.WithContext(ctx)
	for name, to := range map[string]*Known{"tidelay-controller": &i.Controller, "tidelay-injector": &i.Injector} {
		group.Go(func() (err error) {
			*to, err = readTag(ctx, reader, client.ObjectKey{Namespace: system, Name: name})
			return err
		})
	}
	for list, to := range map[client.ObjectList]*Known{&v1alpha1.NetworkFaultList{}: &i.NetworkFaults, &v1alpha1.NetworkTopologyList{}: &i.NetworkTopologies} {
		group.Go(func() (err error) {
			*to, err = readKind(ctx, reader, list, namespace)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return &i, nil
}

// readTag reads the tag of the image of a Deployment's first container.
func readTag(ctx context.Context, reader client.Reader, key client.ObjectKey) (Known, error) {
	var deployment appsv1.Deployment
	err := reader.Get(ctx, key, &deployment)
	switch {
	case apierrors.IsForbidden(err):
		return Known{Unknown: fmt.Sprintf("not known: you may not read Deployment %s", key)}, nil
	case apierrors.IsNotFound(err):
		return Known{Unknown: fmt.Sprintf("not installed: there is no Deployment %s", key)}, nil
	case err != nil:
		return Known{}, fmt.Errorf("read Deployment %s: %w", key, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		if tag := tagOf(c.Image); tag != "" {
			return Known{Value: tag}, nil
		}
	}
	return Known{Unknown: fmt.Sprintf("not known: the image of Deployment %s has no tag", key)}, nil
}

// tagOf returns the tag of an image, "" for none: HOST:PORT/NAME:TAG@DIGEST.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, tag, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return tag
}

// readKind reads whether the API server knows a kind.
func readKind(ctx context.Context, reader client.Reader, list client.ObjectList, namespace string) (Known, error) {
	err := reader.List(ctx, list, client.InNamespace(namespace), client.Limit(1))
	switch {
	case apierrors.IsForbidden(err):
		return Known{Unknown: "not known: you may not list them in namespace " + namespace}, nil
	case apierrors.IsNotFound(err):
		return Known{Unknown: "not installed: the API server does not know them"}, nil
	case err != nil:
		return Known{}, fmt.Errorf("list faults and topologies: %w", err)
	}
	return Known{Value: "installed"}, nil
}
