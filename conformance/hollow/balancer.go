package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// How often the balancer looks.
const looks = 200 * time.Millisecond

// balance gives each Service of type LoadBalancer the address of a Pod that it selects and that is ready: who asks
// there is answered by one of its Pods, on the ports of that. An address stays as long as its Pod is there.
func (n *node) balance(ctx context.Context) {
	for pause(ctx, looks) {
		services, err := n.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range services.Items {
			service := &services.Items[i]
			if service.Spec.Type != corev1.ServiceTypeLoadBalancer || len(service.Spec.Selector) == 0 {
				continue
			}
			if err := n.balanceOne(ctx, service); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				say("the balancer of %s/%s: %v", service.Namespace, service.Name, err)
			}
		}
	}
}

func (n *node) balanceOne(ctx context.Context, service *corev1.Service) error {
	selected := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(service.Spec.Selector).String()}
	pods, err := n.client.CoreV1().Pods(service.Namespace).List(ctx, selected)
	if err != nil {
		return err
	}
	had := ""
	if ingress := service.Status.LoadBalancer.Ingress; len(ingress) > 0 {
		had = ingress[0].IP
	}
	address := ""
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				if address == "" || pod.Status.PodIP == had {
					address = pod.Status.PodIP
				}
			}
		}
	}
	if address == "" || address == had {
		return nil
	}
	patch := []byte(`{"status": {"loadBalancer": {"ingress": [{"ip": "` + address + `"}]}}}`)
	_, err = n.client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	return err
}
