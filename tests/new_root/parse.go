// Reads a file of PEM blocks, and says of each certificate whether Go's crypto/x509 parses it, as
// kubeadm does: a line with "true", or with the error.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	rest, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			fmt.Printf("%q\n", err.Error())
		} else {
			fmt.Println("true")
		}
	}
}
