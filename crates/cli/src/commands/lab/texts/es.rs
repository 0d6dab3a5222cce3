//! Español, para quien hace la práctica.

use std::path::Path;
use std::time::Duration;

use super::{Texts, Try, time};
use crate::commands::lab::step::StepId;

pub(super) struct Spanish;

impl Texts for Spanish {
    fn heading(&self) -> &'static str {
        "la práctica de replicación, paso a paso"
    }

    fn step(&self, step: StepId) -> &'static str {
        match step {
            StepId::Programs => "programas",
            StepId::Primary => "primario",
            StepId::Role => "rol de replicación",
            StepId::Clone => "copia física",
            StepId::Follow => "la réplica sigue",
            StepId::Read => "lectura en la réplica",
            StepId::ReadOnly => "escritura rechazada",
            StepId::Asynchronous => "asíncrona, mostrada",
            StepId::Synchronous => "paso a síncrona",
            StepId::Wait => "síncrona, mostrada",
            StepId::Archive => "archivo de WAL",
            StepId::Diagram => "diagrama",
            StepId::Protect => "agentes",
            StepId::Failover => "conmutación",
            StepId::Rejoin => "reincorporación",
        }
    }

    fn doing(&self, step: StepId) -> &'static str {
        match step {
            StepId::Programs => "buscando PostgreSQL",
            StepId::Primary => "creando el primario",
            StepId::Role => "creando el rol de replicación",
            StepId::Clone => "copiando el primario",
            StepId::Follow => "arrancando la réplica",
            StepId::Read => "escribiendo en el primario, leyendo en la réplica",
            StepId::ReadOnly => "intentando escribir en la réplica",
            StepId::Asynchronous => "parando la réplica: ¿espera el commit?",
            StepId::Synchronous => "pasando a replicación síncrona",
            StepId::Wait => "parando la réplica: ¿espera ahora el commit?",
            StepId::Archive => "archivando un segmento de WAL",
            StepId::Diagram => "dibujando",
            StepId::Protect => "arrancando un agente por nodo",
            StepId::Failover => "matando el primario bajo carga",
            StepId::Rejoin => "esperando a que vuelva el primario anterior",
        }
    }

    fn programs(&self, version: &str) -> String {
        format!("PostgreSQL {version}")
    }

    fn primary(&self, node: &str, address: &str) -> String {
        format!("Primario {node} en {address}, con TLS y SCRAM")
    }

    fn role(&self, role: &str) -> String {
        format!("Rol {role}: puede replicar, y nada más")
    }

    fn cloned(&self, standbys: &str, size: &str) -> String {
        format!("Copia física del primario en {standbys}: {size}")
    }

    fn following(&self, standbys: &str, count: usize, primary: &str) -> String {
        let verb = if count == 1 { "sigue" } else { "siguen" };
        format!("{standbys} {verb} a {primary}")
    }

    fn read(&self, standbys: &str, after: Duration) -> String {
        format!(
            "Fila escrita en el primario, leída en {standbys} a los {}",
            time(after)
        )
    }

    fn refused(&self, standbys: &str, count: usize) -> String {
        match count {
            1 => format!("{standbys} rechaza escrituras: es de solo lectura"),
            _ => format!("{standbys} rechazan escrituras: son de solo lectura"),
        }
    }

    fn asynchronous(&self, standbys: &str, count: usize, commit: Duration) -> String {
        let state = if count == 1 { "parado" } else { "parados" };
        format!(
            "Asíncrona: con {standbys} {state}, el commit vuelve en {}",
            time(commit)
        )
    }

    fn caught_up(&self, standbys: &str, count: usize, after: Duration) -> String {
        let verbs = if count == 1 {
            "arranca y se pone"
        } else {
            "arrancan y se ponen"
        };
        format!("{standbys} {verbs} al día en {}", time(after))
    }

    fn synchronous(&self) -> String {
        "Replicación síncrona, sin reiniciar nada".to_owned()
    }

    fn waited(&self, standbys: &str, count: usize, waited: Duration) -> String {
        let state = if count == 1 { "parado" } else { "parados" };
        format!(
            "Síncrona: con {standbys} {state}, el commit espera {}",
            time(waited)
        )
    }

    fn archived(&self, segment: &str) -> String {
        format!("WAL {segment}: archivado, recuperado, idéntico")
    }

    fn drawn(&self) -> String {
        "El resultado".to_owned()
    }

    fn protected(&self, nodes: usize) -> String {
        format!("{nodes} agentes vigilan la manada y anotan quién es la primaria")
    }

    fn failed_over(&self, old: &str, new: &str, after: Duration) -> String {
        format!(
            "{old} muerto; {new} aceptó una escritura tras {}",
            time(after)
        )
    }

    fn nothing_lost(&self, rows: usize) -> String {
        format!("están las {rows} filas confirmadas, todas")
    }

    fn rejoined(&self, old: &str, new: &str, after: Duration) -> String {
        format!("{old} sigue a {new} por sí solo, {} después", time(after))
    }

    fn row_asynchronous(&self) -> &'static str {
        "Test replicación asíncrona"
    }

    fn row_without_standby(&self) -> &'static str {
        "Test sin réplica"
    }

    fn row_synchronous(&self) -> &'static str {
        "Test replicación síncrona"
    }

    fn table_heading(&self) -> (&'static str, &'static str) {
        ("Paso", "Tiempo")
    }

    fn total(&self, steps: usize, total: Duration) -> String {
        format!("{steps} pasos, todos comprobados, en {}", time(total))
    }

    fn connect(&self) -> &'static str {
        "Conéctate con psql:"
    }

    fn connect_to(&self) -> (&'static str, &'static str) {
        ("primario, para escribir", "réplica, para leer")
    }

    fn try_next(&self) -> &'static str {
        "Y ahora prueba:"
    }

    fn try_command(&self, what: Try) -> &'static str {
        match what {
            Try::Status => "quién es quién, y qué se perdería si el primario muere",
            Try::Verify => "que todo replica, demostrado con cifras",
            Try::SyncOff => "volver a la replicación asíncrona",
            Try::Why => "qué se hizo y por qué, y qué impide lo que no",
            Try::Switchover => "pasar el papel de primario a la mejor réplica",
            Try::Stop => "parar los servidores (lab start los arranca)",
            Try::Rm => "borrar el laboratorio",
        }
    }

    fn replaced(&self) -> String {
        "nadie había escrito en el laboratorio anterior: este lo reemplaza".to_owned()
    }

    fn cleared(&self) -> String {
        "un laboratorio anterior quedó a medias: se borra y se empieza de nuevo".to_owned()
    }

    fn set_aside(&self, kept: &Path, home: &Path) -> String {
        format!(
            "el laboratorio anterior puede tener datos tuyos: queda guardado en\n  {}\n  \
             para volver a usarlo: manada lab rm, devuélvele su nombre ({}) y manada lab start",
            kept.display(),
            home.display()
        )
    }

    fn removed(&self, home: &Path) -> String {
        format!("borrado: {}", home.display())
    }

    fn stopped(&self, home: &Path) -> String {
        format!(
            "parado: {}; manada lab start lo arranca otra vez",
            home.display()
        )
    }

    fn started(&self, home: &Path) -> String {
        format!("en marcha: {}", home.display())
    }

    fn nothing_there(&self, home: &Path) -> String {
        format!("no hay ningún laboratorio en {}", home.display())
    }
}
