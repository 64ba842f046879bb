package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// keys is the cluster's authority and the folder that all keys are written to. They live a day.
type keys struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newKeys(folder string) (*keys, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	k := &keys{folder: folder}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "hollow"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, key, err := k.sign("ca", template)
	if err != nil {
		return nil, err
	}
	k.key = key
	k.certificate, err = x509.ParseCertificate(der)
	return k, err
}

// sign writes NAME.crt and NAME.key; without an authority as yet it makes one that signed itself.
func (k *keys) sign(name string, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	k.serial++
	template.SerialNumber = big.NewInt(k.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour)
	issuer, issuerKey := k.certificate, k.key
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(k.path(name+".crt"), certificate, 0o600); err != nil {
		return nil, nil, err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return der, key, os.WriteFile(k.path(name+".key"), private, 0o600)
}

func (k *keys) path(name string) string {
	return filepath.Join(k.folder, name)
}

func (k *keys) server(name string, names []string, addresses []net.IP) error {
	_, _, err := k.sign(name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: names, IPAddresses: addresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func (k *keys) client(name, user string, groups ...string) error {
	_, _, err := k.sign(name, &x509.Certificate{
		Subject:  pkix.Name{CommonName: user, Organization: groups},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// kubeconfig writes a configuration that carries its keys, so that it can be copied, and returns its path.
func (k *keys) kubeconfig(name, server string) (string, error) {
	config := api.NewConfig()
	path := k.path(name + ".kubeconfig")
	read := map[string][]byte{}
	for _, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		text, err := os.ReadFile(k.path(file))
		if err != nil {
			return "", err
		}
		read[file] = text
	}
	config.Clusters["hollow"] = &api.Cluster{Server: server, CertificateAuthorityData: read["ca.crt"]}
	config.AuthInfos[name] = &api.AuthInfo{
		ClientCertificateData: read[name+".crt"], ClientKeyData: read[name+".key"],
	}
	config.Contexts["hollow"] = &api.Context{Cluster: "hollow", AuthInfo: name}
	config.CurrentContext = "hollow"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return path, nil
}
