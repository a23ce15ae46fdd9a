package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// A pod is a pod of a StatefulSet, by the name its headless service gives it.
type pod struct {
	name    string // basic-tikv-0
	host    string // basic-tikv-0.basic-tikv-peer.db.svc
	ordinal int    // 0
}

// A podLister lists the pods behind a named port of a headless service, by
// ordinal. The list is never empty.
type podLister func(ctx context.Context, port, service, namespace string) ([]pod, error)

// dnsPods is the podLister that asks the cluster's DNS: the service has an SRV
// record for each pod, ready or not.
func dnsPods(ctx context.Context, port, service, namespace string) ([]pod, error) {
	domain := service + "." + namespace + ".svc"
	_, records, err := net.DefaultResolver.LookupSRV(ctx, port, "tcp", domain)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", domain, err)
	}
	pods := make([]pod, len(records))
	for i, record := range records {
		if pods[i], err = podAt(record.Target, domain); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(pods, func(a, b pod) int { return a.ordinal - b.ordinal })
	return pods, nil
}

// podAt parses the target of a service's SRV record,
// basic-tikv-0.basic-tikv-peer.db.svc.cluster.local. The host leaves the
// cluster's domain out, since TiDB Operator finds stores by the name without it.
func podAt(target, domain string) (pod, error) {
	name, _, _ := strings.Cut(target, ".")
	ordinal, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err != nil {
		return pod{}, fmt.Errorf("pod %q of %s: want a name that ends in an ordinal", name, domain)
	}
	return pod{name: name, host: name + "." + domain, ordinal: ordinal}, nil
}

// notFound reports whether a podLister failed because there is no pod.
func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
